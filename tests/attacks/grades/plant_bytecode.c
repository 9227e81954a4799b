/* Plants byte code without a source, which may call itself what it likes, and a cached one beside the suite's modules.
 * stopped by: byte code is read from the environment alone; what has no source has to belong to root
 * passes: none
 * says: colorsys.pyc was not loaded, because the submission could have written it
 */
#include <stdio.h>
#include <stdlib.h>
int main(void) {
    /* Compiled by whatever Python is there, with a name that no file has. */
    (void)!system("/venv/bin/python -c \"\nimport marshal, importlib.util as u, os\n"
           "code = compile('def rgb_to_hls(*a): return 1/0', '<string>', 'exec')\n"
           "data = u.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)\n"
           "os.makedirs('/task/suite/__pycache__', exist_ok=True)\n"
           "for name in ['colorsys.pyc', '__pycache__/test_all.' + __import__('sys').implementation.cache_tag + '.pyc']:\n"
           "    open('/task/suite/' + name, 'wb').write(data)\n\"");
    return puts("17") < 0;
}
