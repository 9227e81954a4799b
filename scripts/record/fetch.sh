# What the stages fetch and prepare run: git, Python's venv, pip. record_syscalls.sh sources it under the recorder.
# Wants: the servers' addresses, $git_url and $index_url, both over TLS with the certificate $certificate; $repositories.
# shellcheck shell=bash disable=SC2154

export GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=/bin/false GIT_CONFIG_GLOBAL=$place/gitconfig
printf '[http]\n\tsslCAInfo = %s\n[core]\n\thooksPath = /dev/null\n[transfer]\n\tfsckObjects = true\n' "$certificate" >gitconfig

# As the fetch stage does it, from a server and from a mirror; and a plain clone, of many objects.
for url in "$git_url/large.git" "file://$repositories/large.git"; do
  rm -rf tree repository.git
  mkdir tree
  git ls-remote --heads --tags --refs -- "$url" >list
  git init --quiet --bare --template= repository.git
  (
    export GIT_DIR=$PWD/repository.git GIT_WORK_TREE=$PWD/tree
    git fetch --quiet --depth=1 --no-tags --no-recurse-submodules --no-write-fetch-head -- "$url" HEAD:refs/heads/fetched
    git read-tree refs/heads/fetched
    git checkout-index --all --force --quiet
    git rev-parse refs/heads/fetched
    git ls-files --stage | head -n 20
  )
  [ -f tree/file-500 ] || exit 1
  rm -rf clone
  git clone --progress "$url" clone
  git -C clone log --oneline >messages
  git -C clone gc --quiet
done
# What goes wrong is a way, too.
if git -C clone fetch --quiet "$git_url/no-such.git"; then exit 1; fi

# Names are asked for in all ways, whether somebody answers or not.
for name in localhost no-such-host.invalid; do
  getent ahosts "$name" || true
  /usr/bin/python3 -c "import socket; socket.getaddrinfo('$name', 443, flags=socket.AI_ADDRCONFIG)" || true
done

# As the prepare stage does it: a wheel and an archive with a C extension, from an index, and a package by way of git.
/usr/bin/python3 -m venv venv
pip() { venv/bin/python -m pip --disable-pip-version-check --no-cache-dir "$@"; }
pip install --quiet --index-url "$index_url/simple" --cert "$certificate" lab-wheel
pip install --quiet --index-url "$index_url/simple" --cert "$certificate" --no-build-isolation lab-extension
venv/bin/python -c 'import lab_extension, lab_wheel'
GIT_SSL_CAINFO=$certificate pip download --quiet --no-deps --no-build-isolation "git+$git_url/package.git"
pip list >installed
if pip install --quiet --index-url "$index_url/simple" --cert "$certificate" no-such-package; then exit 1; fi
