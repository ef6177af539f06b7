/*
 * process_stress_test.c - processes come and go while threads attach, allocate, map, lock and copy between them; validators between rounds.
 * SPDX-License-Identifier: MIT
 *
 * Each thread makes a process, fills pages of it with its own mark, maps a section that all share, locks and unlocks, decommits, reads the
 * others' memory by MmCopyVirtualMemory, attaches to others at random, and ends its process. A page that shows another's mark, or
 * another process's address that answers, is an error. After each round everything is quiet and MiValidateAll walks all of it.
 */
#include "mm_kit.h"
#include "ps/psp.h"
#include <pthread.h>

#define THREADS 4
#define ROUNDS  4
#define STEPS   (NTMM_SANITIZED ? 40 : 150)

typedef struct _WORKER {
    ULONG64 Random;
    ULONG Errors;
    ULONG Mark;
} WORKER;
static WORKER Workers[THREADS];
static pthread_barrier_t Stop, Go;
static PVOID SharedSection;
static struct {
    KI_LOCK Lock;
    KPROCESS *Process; /* referenced */
    PULONG Va;
} Published[THREADS];

static ULONG Pick(WORKER *Me, ULONG Below)
{
    Me->Random ^= Me->Random << 13;
    Me->Random ^= Me->Random >> 7;
    Me->Random ^= Me->Random << 17;
    return (ULONG)(Me->Random >> 20) % Below;
}

static void Publish(ULONG Index, KPROCESS *Process, PULONG Va)
{
    KiAcquireLock(&Published[Index].Lock);
    KPROCESS *Old = Published[Index].Process;
    if (Process)
        ObReferenceObject(Process);
    Published[Index].Process = Process;
    Published[Index].Va = Va;
    KiReleaseLock(&Published[Index].Lock);
    if (Old)
        ObDereferenceObject(Old);
}
static KPROCESS *Borrow(ULONG Index, PULONG *Va)
{
    KiAcquireLock(&Published[Index].Lock);
    KPROCESS *Process = Published[Index].Process;
    *Va = Published[Index].Va;
    if (Process)
        ObReferenceObject(Process);
    KiReleaseLock(&Published[Index].Lock);
    return Process;
}

/* Another thread's process, which may be ending: what is read of it is its mark, or nothing. */
static void Visit(WORKER *Me, ULONG Other)
{
    PULONG Va;
    ULONG Seen = 0;
    SIZE_T Done;
    KPROCESS *Process = Borrow(Other, &Va);
    if (Process == NULL)
        return;
    NTSTATUS Status = MmCopyVirtualMemory(Process, Va, PsInitialSystemProcess, &Seen, sizeof Seen, KernelMode, &Done);
    if (NT_SUCCESS(Status) && Seen != Workers[Other].Mark)
        Me->Errors++;
    if (Pick(Me, 2) && NT_SUCCESS(PsAcquireProcessExitSynchronization(Process))) {
        KAPC_STATE Apc;
        KeStackAttachProcess(Process, &Apc);
        if (PsGetCurrentProcess() != Process)
            Me->Errors++;
        PULONG Own = MmAllocateUserPages(1, PAGE_READWRITE);
        if (Own) {
            *Own = Me->Mark;
            if (*(volatile ULONG *)Own != Me->Mark)
                Me->Errors++;
            MmFreeUserPages(Own, 1);
        }
        KeUnstackDetachProcess(&Apc);
        PsReleaseProcessExitSynchronization(Process);
    }
    ObDereferenceObject(Process);
}

static void Live(WORKER *Me, ULONG Index, KPROCESS *Process)
{
    KAPC_STATE Apc;
    PVOID View = NULL;
    SIZE_T Size = 0;
    KIT_MDL Mdl;
    KeStackAttachProcess(Process, &Apc);
    ULONG Pages = 1 + Pick(Me, 40);
    PULONG Va = MmAllocateUserPages(Pages, PAGE_READWRITE);
    if (Va == NULL) {
        KeUnstackDetachProcess(&Apc);
        return;
    }
    for (ULONG Page = 0; Page < Pages; Page++)
        Va[(SIZE_T)Page * 1024] = Me->Mark;
    Publish(Index, Process, Va);
    if (NT_SUCCESS(MmMapViewOfSection(SharedSection, Process, &View, 0, 0, NULL, &Size, ViewUnmap, 0,
                                      Pick(Me, 2) ? PAGE_READWRITE : PAGE_WRITECOPY))) {
        PULONG Slots = View;
        Slots[Index * 1024] = Me->Mark; /* a page of the section each */
        if (*(volatile ULONG *)&Slots[Index * 1024] != Me->Mark)
            Me->Errors++;
    }
    for (ULONG Step = 0; Step < 6; Step++) {
        ULONG Page = Pick(Me, Pages);
        switch (Pick(Me, 4)) {
        case 0:
            MmInitializeMdl(&Mdl.Mdl, &Va[(SIZE_T)Page * 1024], 4);
            if (NT_SUCCESS(KitLock(&Mdl.Mdl, UserMode, IoWriteAccess))) {
                PULONG Mapped = MmGetSystemAddressForMdlSafe(&Mdl.Mdl, NormalPagePriority);
                if (Mapped && *Mapped != Me->Mark)
                    Me->Errors++;
                MmUnlockPages(&Mdl.Mdl);
            }
            break;
        case 1: {
            PVOID Base = &Va[(SIZE_T)Page * 1024];
            SIZE_T Bytes = 4;
            (void)ZwLockVirtualMemory(NtCurrentProcess(), &Base, &Bytes, MAP_PROCESS);
            break;
        }
        case 2:
            KeUnstackDetachProcess(&Apc);
            Visit(Me, Pick(Me, THREADS));
            KeStackAttachProcess(Process, &Apc);
            break;
        default:
            if (Va[(SIZE_T)Page * 1024] != Me->Mark)
                Me->Errors++;
        }
    }
    if (View && Pick(Me, 2))
        (void)MmUnmapViewOfSection(Process, View);
    Publish(Index, NULL, NULL);
    if (Pick(Me, 2))
        MmFreeUserPages(Va, Pages); /* else the process's end does */
    KeUnstackDetachProcess(&Apc);
}

static void *Work(void *Argument)
{
    WORKER *Me = Argument;
    ULONG Index = (ULONG)(Me - Workers);
    for (ULONG Round = 0; Round < ROUNDS; Round++) {
        for (ULONG Step = 0; Step < STEPS; Step++) {
            KPROCESS *Process;
            if (!NT_SUCCESS(PspCreateNamedProcess("stress", &Process)))
                continue;
            Live(Me, Index, Process);
            if (!NT_SUCCESS(PspEndProcess(Process, 0)))
                Me->Errors++;
            ObDereferenceObject(Process);
        }
        pthread_barrier_wait(&Stop);
        pthread_barrier_wait(&Go);
    }
    return NULL;
}

static void Processes_ComeAndGo(void **State)
{
    pthread_t Threads[THREADS];
    LARGE_INTEGER Bytes = {.QuadPart = THREADS * PAGE_SIZE};
    (void)State;
    assert_int_equal(MmCreateSection(&SharedSection, SECTION_ALL_ACCESS, NULL, &Bytes, PAGE_READWRITE, SEC_COMMIT, NULL, NULL),
                     STATUS_SUCCESS);
    pthread_barrier_init(&Stop, NULL, THREADS + 1);
    pthread_barrier_init(&Go, NULL, THREADS + 1);
    for (ULONG i = 0; i < THREADS; i++) {
        Workers[i] = (WORKER){.Random = 77 + i * 1234567, .Mark = 0x10001 * (i + 1)};
        assert_int_equal(pthread_create(&Threads[i], NULL, Work, &Workers[i]), 0);
    }
    for (ULONG Round = 0; Round < ROUNDS; Round++) {
        pthread_barrier_wait(&Stop);
        const CHAR *Broken = MiValidateAll();
        if (Broken)
            print_error("%s\n", Broken);
        assert_null(Broken);
        pthread_barrier_wait(&Go);
    }
    for (ULONG i = 0; i < THREADS; i++) {
        pthread_join(Threads[i], NULL);
        assert_int_equal(Workers[i].Errors, 0);
    }
    ObDereferenceObject(SharedSection);
    KitAssertValid();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {cmocka_unit_test_setup_teardown(Processes_ComeAndGo, KitStart, KitStop)};
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
