# Brings submodules whose addresses are commands, options, files of the host, internal addresses; one whose path ends in a
# carriage return (CVE-2025-48384).
# stopped by: submodules are not fetched, other protocols are not allowed, and the stage reaches the server alone
# result: passed
{
    n=0
    for url in "ext::touch $MARK" "--upload-pack=touch $MARK" "file:///etc" "https://169.254.169.254/x" "../../../etc" "git@127.0.0.1:x"; do
        printf '[submodule "%s"]\n\tpath = sub%s\n\turl = %s\n\tupdate = !touch %s\n' "$url" "$((n += 1))" "$url" "$MARK"
    done
    printf '[submodule "cr"]\n\tpath = "cr\r"\n\turl = file:///etc\n'
} >.gitmodules
git update-index --add --cacheinfo "160000,$(printf x | git hash-object --stdin),sub1"
commit_index
