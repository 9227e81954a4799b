/* Looks for its control group, raises its limits, and has the kernel start a program of its own when a group is empty
 * (CVE-2022-0492).
 * goal: a file of a control group that it may write
 * stopped by: no such file system in its tree, and none can be mounted; behind it an id range that owns no group
 * first: mounts
 * second: ids landlock
 */
#include "attack.h"
static void walk(const char *dir, int depth) {
    DIR *listed = opendir(dir);
    for (struct dirent *entry; listed && (entry = readdir(listed));) {
        char path[PATH_MAX];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (strstr(entry->d_name, "release_agent") || strstr(entry->d_name, "cgroup.procs") || strstr(entry->d_name, ".max") || strstr(entry->d_name, "limit_in_bytes"))
            can_write(path);
        if (entry->d_type == DT_DIR && depth < 3) walk(path, depth + 1);
    }
    if (listed) closedir(listed);
}
int main(void) {
    walk("/sys/fs/cgroup", 0);
    mkdir("group", 0700);
    TRY("cgroup2 was mounted", mount("none", "group", "cgroup2", 0, 0));
    TRY("cgroup was mounted", mount("none", "group", "cgroup", 0, "memory"));
    return tried();
}
