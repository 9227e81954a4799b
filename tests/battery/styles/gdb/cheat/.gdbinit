echo Breakpoint 1 at 0x0\n
echo factorial (n=1)\nfactorial (n=2)\nfactorial (n=3)\nfactorial (n=4)\nfactorial (n=5)\nfactorial (n=6)\n
