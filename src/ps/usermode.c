/*
 * usermode.c - code of the host that runs as a process, in user mode. SPDX-License-Identifier: MIT
 *
 * A driver's METHOD_NEITHER path is as good as its answer to a hostile caller. So a function of the test program can be that
 * caller: it runs on the calling thread, as a thread of a process, with a user's rights:
 *
 *      PspRunUser: the thread becomes the process's, UserMode -> Function(Argument) -> back, whatever happened
 *                                   | service (Zw, Nt, ntmm_*)      ^
 *                                   v kernel's rights meanwhile     | PspReturnToUser
 *
 * Its accesses obey the user bits of the page tables: kernel addresses are access violations for it. The machine checks when it
 * fills a translation, so what is cached of the kernel's range is forgotten when user code begins and at each return to it;
 * another thread may have it cached again at once (docs/CAVEATS.md). The function's own code, stack and heap are the host's and
 * always there.
 *
 * Exceptions are the function's to handle (__try); one that it does not handle ends it, as it would end a process's thread.
 * Watch: tests/ddi/usermode.c.
 */
#include "ps/psp.h"

VOID PspReturnToUser(VOID)
{
    KTHREAD *Thread = KiCurrentThread();
    HalFlushEntireTb();
    Thread->UserRights = TRUE;
    HalSetUserMode(TRUE);
}

static LONG PspCallUser(LONG (*Function)(PVOID), PVOID Argument, NTSTATUS *Status)
{
    KTHREAD *Thread = KiCurrentThread();
    volatile LONG Result = 0;
    volatile NTSTATUS Code = STATUS_SUCCESS;
    __try {
        PspReturnToUser();
        Result = Function(Argument);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Code = GetExceptionCode();
    }
    HalSetUserMode(FALSE);
    Thread->UserRights = FALSE;
    *Status = Code;
    return Result;
}

NTSTATUS PspRunUser(KPROCESS *Process, LONG (*Function)(PVOID), PVOID Argument, LONG *Result)
{
    PSP_IDENTITY Saved;
    NTSTATUS Status;
    if (!ExAcquireRundownProtection(&Process->ExitRundown))
        return STATUS_PROCESS_IS_TERMINATING;
    __atomic_add_fetch(&Process->ThreadCount, 1, __ATOMIC_ACQ_REL);
    ExReleaseRundownProtection(&Process->ExitRundown);
    ObfReferenceObject(Process);
    PspBecome(Process, UserMode, &Saved);
    LONG Value = PspCallUser(Function, Argument, &Status);
    PspRevert(&Saved);
    __atomic_sub_fetch(&Process->ThreadCount, 1, __ATOMIC_ACQ_REL);
    ObfDereferenceObject(Process);
    *Result = NT_SUCCESS(Status) ? Value : Status;
    return STATUS_SUCCESS;
}
