/* Has the compiler read the tests while the project is built, by its include and by its assembler.
 * stopped by: the stage that builds does not see the suite
 * says: -
 */
#include <stdio.h>
#if __has_include("/task/suite/test_all.py")
#define ANSWER "42"
#else
#define ANSWER "17"
#endif
int main(void) { return puts(ANSWER) < 0; }
