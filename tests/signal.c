/*
 * signal.c - keeps the processor's signals with the machine while a test framework runs. SPDX-License-Identifier: MIT
 *
 * cmocka calls signal() for SIGSEGV and its like before and after every test, which would take the page faults away from
 * a machine that runs across tests. This definition, linked into every test program, stands before libc's: it leaves
 * those signals as they are and passes the others on.
 */
#include <signal.h>
#include <string.h>

typedef void (*handler)(int);
handler signal(int number, handler new)
{
    struct sigaction action, old;
    if (number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE || number == SIGTRAP) {
        return SIG_DFL;
    }
    memset(&action, 0, sizeof(action));
    action.sa_handler = new;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    return sigaction(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}
