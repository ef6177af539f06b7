/*
 * mutant.c - mutexes (KMUTEX is KMUTANT). SPDX-License-Identifier: MIT
 *
 * Implements KeInitializeMutex, KeReleaseMutex, KeReadStateMutex and, for the object layer, KeInitializeMutant and
 * KeReleaseMutant. A mutex has an owner, who may take it again and must give it back as often; while a thread owns a
 * KMUTEX it is in a critical region. Releasing one that the thread does not own raises STATUS_MUTANT_NOT_OWNED (or
 * STATUS_ABANDONED, if its owner has ended). A thread that ends owning a KMUTEX stops the system
 * (THREAD_TERMINATE_HELD_MUTEX, 0x4000008A: thread, mutex); a mutant made for user mode is
 * abandoned instead, and the next wait for it says so.
 *
 *      SignalState:  1 free;  0 owned once;  -n owned n + 1 times
 *
 * Invariants
 *  U1. SignalState <= 1; it is 1 exactly while OwnerThread is NULL.
 *  U2. An owned mutant is in its owner's MutantListHead.
 */
#include "ke/kip.h"

VOID KeInitializeMutant(PRKMUTANT Mutant, BOOLEAN InitialOwner)
{
    memset(Mutant, 0, sizeof *Mutant);
    Mutant->Header.Type = MutantObject;
    Mutant->Header.Size = sizeof(KMUTANT) / sizeof(LONG);
    KiSetState(&Mutant->Header, 1);
    Mutant->Header.WaitListHead.Flink = Mutant->Header.WaitListHead.Blink = &Mutant->Header.WaitListHead;
    if (InitialOwner) {
        KTHREAD *Thread = KiCurrentThread();

        KiLockDispatcher();
        KiTakeMutant(Mutant, Thread);
        KiUnlockDispatcher();
    }
}

VOID KeInitializeMutex(PRKMUTEX Mutex, ULONG Level)
{
    UNREFERENCED_PARAMETER(Level); /* documented: reserved */
    KI_CHECK_OBJECT(Mutex);
    KiTellLockWatch(KiLockInitialized, KiKernelMutex, Mutex, NULL);
    KeInitializeMutant(Mutex, FALSE);
    Mutex->ApcDisable = 1;
}

BOOLEAN KiTakeMutant(PKMUTANT Mutant, KTHREAD *Thread)
{
    LONG State = KiState(&Mutant->Header);
    BOOLEAN Abandoned;

    if (State == MINLONG) {
        Thread->MutantOverflow = TRUE; /* raised once the lock is free */
        return FALSE;
    }
    KiSetState(&Mutant->Header, State - 1);
    if (State != 1) {
        return FALSE;
    }
    Thread->CriticalRegion += Mutant->ApcDisable;
    Mutant->OwnerThread = Thread;
    Mutant->MutantListEntry.Flink = &Thread->MutantListHead;
    Mutant->MutantListEntry.Blink = Thread->MutantListHead.Blink;
    Thread->MutantListHead.Blink->Flink = &Mutant->MutantListEntry;
    Thread->MutantListHead.Blink = &Mutant->MutantListEntry;
    Abandoned = Mutant->Abandoned;
    Mutant->Abandoned = FALSE;
    if (Mutant->ApcDisable != 0) {
        KiTellLockWatch(KiLockTaken, KiKernelMutex, Mutant, Thread);
    }
    return Abandoned;
}

static VOID KipFreeMutant(PKMUTANT Mutant)
{
    KTHREAD *Owner = Mutant->OwnerThread;

    if (Mutant->ApcDisable != 0) {
        KiTellLockWatch(KiLockReleased, KiKernelMutex, Mutant, Owner);
    }
    Owner->CriticalRegion -= Mutant->ApcDisable;
    Mutant->OwnerThread = NULL;
    Mutant->MutantListEntry.Blink->Flink = Mutant->MutantListEntry.Flink;
    Mutant->MutantListEntry.Flink->Blink = Mutant->MutantListEntry.Blink;
    KiSetState(&Mutant->Header, 1);
    KiTestWaiters(&Mutant->Header);
}

LONG KeReleaseMutant(PRKMUTANT Mutant, KPRIORITY Increment, BOOLEAN Abandoned, BOOLEAN Wait)
{
    KTHREAD *Thread = KiCurrentThread();
    NTSTATUS Status = STATUS_SUCCESS;
    LONG Old;

    UNREFERENCED_PARAMETER(Increment);
    UNREFERENCED_PARAMETER(Wait);
    KiTouch(Mutant);
    KiLockDispatcher();
    Old = KiState(&Mutant->Header);
    if (Abandoned) {
        if (Mutant->OwnerThread != NULL) {
            Mutant->Abandoned = TRUE;
            KipFreeMutant(Mutant);
        }
    } else if (Mutant->OwnerThread != Thread) {
        Status = Mutant->Abandoned ? STATUS_ABANDONED : STATUS_MUTANT_NOT_OWNED;
    } else if (Old < 0) {
        KiSetState(&Mutant->Header, Old + 1);
    } else {
        KipFreeMutant(Mutant);
    }
    KiUnlockDispatcher();
    if (Status != STATUS_SUCCESS) {
        if (Mutant->ApcDisable != 0) {
            KiTellLockWatch(Old == 1 ? KiLockReleasedFree : KiLockReleasedByOther, KiKernelMutex, Mutant, Thread);
        }
        ExRaiseStatus(Status);
    }
    return Old;
}

LONG KeReleaseMutex(PRKMUTEX Mutex, BOOLEAN Wait)
{
    return KeReleaseMutant(Mutex, 1, FALSE, Wait);
}

LONG KeReadStateMutex(PRKMUTEX Mutex)
{
    return KiState(&Mutex->Header);
}

LONG KeReadStateMutant(PRKMUTANT Mutant)
{
    return KiState(&Mutant->Header);
}

VOID KiAbandonMutants(KTHREAD *Thread)
{
    PKMUTANT Held = NULL;

    KiLockDispatcher();
    while (Thread->MutantListHead.Flink != &Thread->MutantListHead) {
        PKMUTANT Mutant = CONTAINING_RECORD(Thread->MutantListHead.Flink, KMUTANT, MutantListEntry);

        if (Mutant->ApcDisable != 0 && Held == NULL) {
            Held = Mutant;
        }
        Mutant->Abandoned = TRUE;
        KipFreeMutant(Mutant);
    }
    KiUnlockDispatcher();
    if (Held != NULL) {
        KiStop(THREAD_TERMINATE_HELD_MUTEX, "A thread ended while it owned a mutex.", Held, (ULONG_PTR)Thread, (ULONG_PTR)Held,
               0, 0);
    }
}
