/* Reads what the host keeps from its users.
 * goal: a file that only root may read
 * stopped by: a file tree of its own; behind it an id range that owns nothing outside
 * first: mounts
 * second: ids
 */
#include "attack.h"
int main(void) {
    const char *const files[] = {
        "/etc/shadow", "/etc/gshadow", "/root/.bashrc", "/root/.ssh/id_ed25519", "/etc/ssh/ssh_host_ed25519_key", "/etc/sudoers",
        "/var/lib/ostest-sandbox/status.json", "/etc/ostest-sandbox/config.toml", "/proc/1/environ",
    };
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
        /* What every sandbox has: nobody's password, and no date of one. */
        const char made_up[] = "root:*:::::::\nstudent:*:";
        char text[sizeof made_up] = "";
        int fd = open(files[i], O_RDONLY | O_CLOEXEC);
        /* Of what is its own, an environment is that of the sandbox's init, and empty. */
        if (fd >= 0 && read(fd, text, sizeof text - 1) > 0 && strcmp(text, made_up)) reached("%s was read", files[i]);
    }
    TRY("the home of root was listed", opendir("/root") ? 0 : -1);
    return tried();
}
