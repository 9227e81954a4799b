/* No attack: what a submission gets that is wrong and does nothing about it. All others are held against it.
 * stopped by: nothing has to be
 * says: -
 */
#include <stdio.h>
int main(void) { return puts("17") < 0; }
