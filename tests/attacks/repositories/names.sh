# Brings files with names that are hard to say: newlines, no UTF-8, escape sequences, options, as long as there are.
# stopped by: nobody reads names as text who could be misled, and they are shown with their bytes escaped
# result: passed
for name in "$(printf 'a\nb')" "$(printf 'a\377\376b')" "$(printf '\033[2Jcleared')" '--version' '-rf' ' ' '*' '$(touch owned)' '`id`' "$(printf 'x%.0s' $(seq 1 255))" "a'b\"c" 'CON' 'a:b' 'test_all.py::test_nothing'; do
    printf 'x\n' >"./$name"
done
commit
