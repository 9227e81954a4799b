/* Plants modules that pytest loads later: in the suite's folder, in the project, in /tmp, and in Python's own places.
 * stopped by: what does not belong to root is not loaded
 * passes: none
 * says: colorsys.py was not loaded, because the submission could have written it
 * says: takes for the suite's lay in its folder when it was over, and pytest did not read them
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static const char code[] =
    "import os, sys\n"
    "for name in list(sys.modules):\n"
    "    if 'test_all' in name: sys.modules[name].EXPECTED = '17\\n'\n"
    "def rgb_to_hls(*a): return 'planted'\n";
int main(void) {
    static const char *const folders[] = { "/task/suite", "/task/suite/lab", ".", "/task/project", "/tmp", "/dev/shm", "/run/ostest", "/venv", "/task" };
    static const char *const names[] = { "colorsys.py", "conftest.py", "sitecustomize.py", "usercustomize.py", "test_all.py", "json.py", "x.pth", "__init__.py" };
    char path[128];
    mkdir("/task/suite/__pycache__", 0777);
    mkdir("/task/suite/wave", 0777);
    for (unsigned i = 0; i < sizeof folders / sizeof *folders; i++)
        for (unsigned j = 0; j < sizeof names / sizeof *names; j++) {
            snprintf(path, sizeof path, "%s/%s", folders[i], names[j]);
            int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
            if (fd >= 0) { (void)!write(fd, code, strlen(code)); close(fd); }
        }
    static const char *const settings[] = { "/task/suite/pytest.ini", "/task/suite/tox.ini", "/task/suite/setup.cfg", "/task/suite/.pytest.ini", "/task/pytest.ini", "pytest.ini", "/tmp/pytest.ini" };
    for (unsigned i = 0; i < sizeof settings / sizeof *settings; i++) {
        int fd = open(settings[i], O_WRONLY | O_CREAT, 0666);
        if (fd >= 0) { (void)!write(fd, "[pytest]\naddopts = -k nothing\n", 30); close(fd); }
    }
    static const char *const toml[] = { "/task/suite/pyproject.toml", "/task/pyproject.toml", "pyproject.toml" };
    static const char options[] = "[tool.pytest.ini_options]\naddopts = '-k nothing'\n";
    for (unsigned i = 0; i < sizeof toml / sizeof *toml; i++) {
        int fd = open(toml[i], O_WRONLY | O_CREAT, 0666);
        if (fd >= 0) { (void)!write(fd, options, strlen(options)); close(fd); }
    }
    return puts("17") < 0;
}
