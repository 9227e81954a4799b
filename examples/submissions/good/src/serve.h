#ifndef SERVE_H
#define SERVE_H

void store_open(void);                        /* before the first worker, so that all of them share it */
_Noreturn void serve_clients(int listener);   /* the life of a worker */

#endif
