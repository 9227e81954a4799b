# Brings git's settings as files of its own: a monitor, an editor, an ssh command, filters, a pager, an alias.
# stopped by: git reads one file of settings, the stage's, and its directory is not the repository's
# result: passed
cat >.gitconfig <<END
[core]
	fsmonitor = touch $MARK
	sshCommand = touch $MARK
	pager = touch $MARK
	hooksPath = .
[filter "evil"]
	smudge = touch $MARK
	process = touch $MARK
	required = true
[alias]
	checkout-index = !touch $MARK
END
cp .gitconfig config
printf '* filter=evil diff=evil merge=evil ident export-subst\n' >.gitattributes
printf '#!/bin/sh\ntouch "%s"\n' "$MARK" >git
chmod +x git
commit
