/* Confines itself to one folder. */
#include "lab.h"
#include <linux/landlock.h>
int main(void) {
    mkdir("/tmp/mine", 0700);
    struct landlock_ruleset_attr rights = { .handled_access_fs = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG };
    int rules = MUST("landlock_create_ruleset", syscall(SYS_landlock_create_ruleset, &rights, sizeof rights, 0));
    struct landlock_path_beneath_attr mine = { .allowed_access = rights.handled_access_fs, .parent_fd = open("/tmp/mine", O_PATH) };
    MUST("landlock_add_rule", syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &mine, 0));
    MUST("no_new_privs", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    MUST("landlock_restrict_self", syscall(SYS_landlock_restrict_self, rules, 0));
    MUST("a file inside", open("/tmp/mine/file", O_CREAT | O_WRONLY, 0600));
    REFUSED("a file outside", open("/tmp/other", O_CREAT | O_WRONLY, 0600), EACCES);
    return done();
}
