/*
 * catch.c - ntmm_catch: a bug check as data. SPDX-License-Identifier: MIT
 *
 * KiCatch (ke/bugcheck.c) does the catching; this file gives it the host's face and turns the stop into ntmm_bugcheck.
 */
#include "host.h"

typedef struct _CALL {
    void (*Function)(void *);
    void *Argument;
} CALL;

static VOID Run(PVOID Context)
{
    CALL *Call = (CALL *)Context;
    Call->Function(Call->Argument);
}

bool ntmm_catch(void (*function)(void *argument), void *argument, ntmm_bugcheck *stop)
{
    CALL Call = {function, argument};
    KI_BUGCHECK Stop;
    KiCurrentThread();
    if (KiCatch(Run, &Call, &Stop))
        return false;
    if (stop)
        HostDescribeStop(&Stop, stop);
    return true;
}
