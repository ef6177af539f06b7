/*
 * mm_stress_test.c - threads allocate, free, protect, lock and map at random; every validator between rounds.
 * SPDX-License-Identifier: MIT
 *
 * Every page a thread owns bears the thread's pattern, checked before it goes: a frame handed to two owners,
 * or shown at an old address, is seen at once. One paged run is shared: all threads lock and map it at the
 * same time. After each round the threads stand still and MiValidateAll walks everything; at the end all
 * frames are where they were.
 */
#include "mm_kit.h"
#include <pthread.h>
#include <stdio.h>

#define THREADS 4
#define SLOTS   24
#define ROUNDS  10
#define STEPS   (NTMM_SANITIZED ? 400 : 1500)

typedef struct _SLOT {
    PUCHAR Va;
    ULONG Pages;
    UCHAR Mark;
    BOOLEAN User, Readable;
    BOOLEAN Locked;
    KIT_MDL Mdl;
} SLOT;
typedef struct _WORKER {
    ULONG64 Random;
    ULONG Errors;
    SLOT Slots[SLOTS];
} WORKER;

static WORKER Workers[THREADS];
static pthread_barrier_t Stop, Go;
static PUCHAR Shared;

static ULONG Pick(WORKER *Me, ULONG Below)
{
    Me->Random ^= Me->Random << 13;
    Me->Random ^= Me->Random >> 7;
    Me->Random ^= Me->Random << 17;
    return (ULONG)(Me->Random >> 20) % Below;
}

static void Mark(WORKER *Me, SLOT *Slot)
{
    Slot->Mark = (UCHAR)(1 + Pick(Me, 255));
    for (ULONG Page = 0; Page < Slot->Pages; Page++) {
        memset(Slot->Va + (SIZE_T)Page * PAGE_SIZE + 64, Slot->Mark, 64);
    }
}
static void Check(WORKER *Me, SLOT *Slot)
{
    UCHAR Bytes[64];
    for (ULONG Page = 0; Page < Slot->Pages; Page++) {
        if (!NT_SUCCESS(MmCopyFromManaged(Bytes, Slot->Va + (SIZE_T)Page * PAGE_SIZE + 64, 64)) || Bytes[0] != Slot->Mark ||
            Bytes[63] != Slot->Mark) {
            Me->Errors++;
        }
    }
}

static void Allocate(WORKER *Me, SLOT *Slot)
{
    static const MM_REGION Regions[] = {MmRegionNonPagedPool, MmRegionPagedPool, MmRegionSpecialPool, MmRegionKernelStacks,
                                        MmRegionSystemData};
    Slot->Pages = 1 + Pick(Me, Pick(Me, 8) ? 12 : 60);
    Slot->User = Pick(Me, 4) == 0;
    Slot->Va = Slot->User ? MmAllocateUserPages(Slot->Pages, PAGE_READWRITE)
                          : MmAllocatePages(Regions[Pick(Me, 5)], Slot->Pages, Pick(Me, 2) ? MM_PAGES_ZERO : 0,
                                            (EX_POOL_PRIORITY)(16 * Pick(Me, 3)));
    if (Slot->Va) {
        Slot->Readable = TRUE;
        Mark(Me, Slot);
    }
}

static void Protect(WORKER *Me, SLOT *Slot)
{
    static const ULONG Protections[] = {PAGE_NOACCESS, PAGE_READONLY, PAGE_EXECUTE_READ};
    ULONG Protection = Slot->Readable ? Protections[Pick(Me, 3)] : PAGE_READWRITE;
    if (!NT_SUCCESS(MmProtectPages(Slot->Va, Slot->Pages, Protection))) {
        Me->Errors++;
    }
    Slot->Readable = !Slot->Readable;
}

static void Lock(WORKER *Me, SLOT *Slot)
{
    PUCHAR Start = Slot->Va + Pick(Me, 64);
    MmInitializeMdl(&Slot->Mdl.Mdl, Start, (SIZE_T)Slot->Pages * PAGE_SIZE - 64);
    if (!NT_SUCCESS(KitLock(&Slot->Mdl.Mdl, Slot->User ? UserMode : KernelMode, IoModifyAccess))) {
        Me->Errors++;
        return;
    }
    Slot->Locked = TRUE;
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(&Slot->Mdl.Mdl, NormalPagePriority | MdlMappingNoExecute);
    if (Mapped == NULL) {
        return;
    }
    PUCHAR Same = (PUCHAR)PAGE_ALIGN(Mapped);
    ULONG Page = Pick(Me, Slot->Pages);
    if (Same[(SIZE_T)Page * PAGE_SIZE + 70] != Slot->Mark) {
        Me->Errors++;
    }
    Same[(SIZE_T)Page * PAGE_SIZE + 200] = Slot->Mark;
    if (Slot->Va[(SIZE_T)Page * PAGE_SIZE + 200] != Slot->Mark) {
        Me->Errors++;
    }
    if (Pick(Me, 2)) {
        MmUnmapLockedPages(Mapped, &Slot->Mdl.Mdl);
    }
}

static void UseShared(WORKER *Me)
{
    KIT_MDL Mdl;
    ULONG Page = Pick(Me, 8), Pages = 1 + Pick(Me, 16 - Page);
    MmInitializeMdl(&Mdl.Mdl, Shared + (SIZE_T)Page * PAGE_SIZE, (SIZE_T)Pages * PAGE_SIZE);
    MmProbeAndLockPages(&Mdl.Mdl, KernelMode, IoWriteAccess);
    volatile LONG *Mapped = MmGetSystemAddressForMdlSafe(&Mdl.Mdl, HighPagePriority);
    if (Mapped) {
        __atomic_fetch_add(&Mapped[7], 1, __ATOMIC_RELAXED);
        __atomic_fetch_sub((volatile LONG *)(Shared + (SIZE_T)Page * PAGE_SIZE) + 7, 1, __ATOMIC_RELAXED);
    }
    MmUnlockPages(&Mdl.Mdl);
}

static void Release(WORKER *Me, SLOT *Slot)
{
    Check(Me, Slot);
    BOOLEAN FreeFirst = Slot->Locked && Pick(Me, 2); /* locked pages outlive their owner */
    if (Slot->Locked && !FreeFirst) {
        MmUnlockPages(&Slot->Mdl.Mdl);
    }
    if (Slot->User) {
        MmFreeUserPages(Slot->Va, Slot->Pages);
    } else {
        MmFreePages(Slot->Va, Slot->Pages);
    }
    if (FreeFirst) {
        MmUnlockPages(&Slot->Mdl.Mdl);
    }
    Slot->Va = NULL;
    Slot->Locked = FALSE;
}

static void Step(WORKER *Me)
{
    SLOT *Slot = &Me->Slots[Pick(Me, SLOTS)];
    if (Slot->Va == NULL) {
        Allocate(Me, Slot);
        return;
    }
    switch (Pick(Me, 6)) {
    case 0:
        if (!Slot->Locked) {
            Protect(Me, Slot);
        }
        break;
    case 1:
        if (!Slot->Locked && Slot->Readable) {
            Lock(Me, Slot);
        }
        break;
    case 2:
        UseShared(Me);
        break;
    case 3:
        Check(Me, Slot);
        break;
    default:
        Release(Me, Slot);
    }
}

static void *Work(void *Argument)
{
    WORKER *Me = Argument;
    (void)KeGetCurrentIrql(); /* becomes a thread of the machine */
    for (ULONG Round = 0; Round < ROUNDS; Round++) {
        for (ULONG Count = 0; Count < STEPS; Count++) {
            Step(Me);
        }
        pthread_barrier_wait(&Stop);
        pthread_barrier_wait(&Go);
    }
    for (ULONG Index = 0; Index < SLOTS; Index++) {
        if (Me->Slots[Index].Va) {
            Release(Me, &Me->Slots[Index]);
        }
    }
    return NULL;
}

static ULONG64 StackPages(void)
{
    MM_REGION_INFO Info;
    MmQueryRegion(MmRegionKernelStacks, &Info);
    return Info.PagesInUse;
}

static void Random_FromManyThreads_EverythingAddsUp(void **State)
{
    pthread_t Threads[THREADS];
    MM_COUNTERS Before, After;
    (void)State;
    Shared = MmAllocatePages(MmRegionPagedPool, 32, 0, NormalPoolPriority);
    MmQueryCounters(&Before);
    ULONG64 Stacks = StackPages();
    ULONG64 Tables = MiState->TablePages;
    pthread_barrier_init(&Stop, NULL, THREADS + 1);
    pthread_barrier_init(&Go, NULL, THREADS + 1);
    for (ULONG Index = 0; Index < THREADS; Index++) {
        Workers[Index].Random = 0x9E3779B97F4A7C15 * (Index + 1);
        pthread_create(&Threads[Index], NULL, Work, &Workers[Index]);
    }
    for (ULONG Round = 0; Round < ROUNDS; Round++) {
        pthread_barrier_wait(&Stop);
        const CHAR *Broken = MiValidateAll();
        if (Broken) {
            print_error("round %u: %s\n", Round, Broken);
        }
        assert_null(Broken);
        pthread_barrier_wait(&Go);
    }
    ULONG Errors = 0;
    for (ULONG Index = 0; Index < THREADS; Index++) {
        pthread_join(Threads[Index], NULL);
        Errors += Workers[Index].Errors;
    }
    assert_int_equal(Errors, 0);
    for (ULONG Page = 0; Page < 16; Page++) {
        assert_int_equal(((volatile LONG *)(Shared + (SIZE_T)Page * PAGE_SIZE))[7], 0);
    }
    KitAssertValid();
    MmQueryCounters(&After);
    MmFreePages(Shared, 32);
    /* A worker thread that the system made meanwhile has a stack. */
    ULONG64 NewTables = MiState->TablePages - Tables + StackPages() - Stacks;
    assert_in_range(After.Committed - Before.Committed, NewTables, NewTables + 4); /* the threads' own, while they last */
    assert_in_range(After.ActivePages - Before.ActivePages, NewTables, NewTables + 16 + 4); /* and the shared run's frames */
    assert_int_equal(After.ZeroedPages + After.FreePages + After.ActivePages, After.TotalPages);
    assert_int_equal(MiState->LockedPages, 0);
}

/* The machine is nearly full all the time: refusals are part of the game, broken promises are not. */
static void Random_WithLittleRam_NeverFailsWherePromised(void **State)
{
    MM_COUNTERS Now;
    (void)State;
    MmQueryCounters(&Now);
    SIZE_T Ballast = (SIZE_T)(Now.CommitLimit - Now.Committed) - 700;
    PVOID Va = MmAllocatePages(MmRegionNonPagedPool, Ballast, 0, HighPoolPriority);
    assert_non_null(Va);
    memset(Workers, 0, sizeof(Workers));
    Random_FromManyThreads_EverythingAddsUp(State);
    MmFreePages(Va, Ballast);
    KitAssertValid();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Random_FromManyThreads_EverythingAddsUp),
        cmocka_unit_test(Random_WithLittleRam_NeverFailsWherePromised),
    };
    return cmocka_run_group_tests_name("mm_stress", Tests, KitStart, KitStop);
}
