/*
 * mdl_stress_test.c - eight threads lock, map, advance, reserve, trim, move, transfer by DMA, and end processes; every validator
 * between rounds. SPDX-License-Identifier: MIT
 *
 * Each thread owns paged runs, and a process with user memory; each page bears its owner's pattern, which is checked through
 * every alias that is made of it. Meanwhile working sets are emptied and contiguous blocks are taken, so that pages are paged
 * out, moved, and brought back; there is a small page file. Processes end with user mappings of MDLs still standing. At the end
 * no mapping, no lock and no record is left.
 */
#include "dma_kit.h"
#include "ps/psp.h"
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define THREADS 8
#define PAGES   24
#define ROUNDS  6
#define STEPS   (NTMM_SANITIZED ? 60 : 600)

typedef struct _WORKER {
    ULONG64 Random;
    ULONG Errors;
    PUCHAR Paged, User;
    KPROCESS *Process;
    PVOID Reserved;
    PDMA_ADAPTER Adapter;
    UCHAR Mark;
    PSCATTER_GATHER_LIST List;
} WORKER;

static WORKER Workers[THREADS];
static pthread_barrier_t Stop, Go;
static char PageFile[64];

static ULONG Pick(WORKER *Me, ULONG Below)
{
    Me->Random ^= Me->Random << 13;
    Me->Random ^= Me->Random >> 7;
    Me->Random ^= Me->Random << 17;
    return (ULONG)(Me->Random >> 20) % Below;
}
static UCHAR Pattern(WORKER *Me, ULONG Page)
{
    return (UCHAR)(Me->Mark + Page * 3);
}
static void MakeProcess(WORKER *Me)
{
    KAPC_STATE State;
    if (!NT_SUCCESS(PspCreateNamedProcess("stress", &Me->Process))) {
        Me->Errors++;
        return;
    }
    KeStackAttachProcess(Me->Process, &State);
    Me->User = MmAllocateUserPages(PAGES, PAGE_READWRITE);
    for (ULONG Page = 0; Me->User && Page < PAGES; Page++) {
        memset(Me->User + Page * PAGE_SIZE, Pattern(Me, Page), 64);
    }
    KeUnstackDetachProcess(&State);
    Me->Errors += Me->User == NULL;
}

/* Locks some pages of the paged run or of the process, sees them through a mapping, and lets go. */
static void LockAndMap(WORKER *Me, BOOLEAN User)
{
    KIT_MDL Kit;
    KAPC_STATE State;
    ULONG First = Pick(Me, PAGES), Pages = 1 + Pick(Me, PAGES - First), Way = Pick(Me, 4);
    PUCHAR Base = User ? Me->User : Me->Paged;
    if (User) {
        KeStackAttachProcess(Me->Process, &State);
    }
    MmInitializeMdl(&Kit.Mdl, Base + First * PAGE_SIZE, Pages * PAGE_SIZE);
    NTSTATUS Status = KitLock(&Kit.Mdl, User ? UserMode : KernelMode, IoModifyAccess);
    if (User) {
        KeUnstackDetachProcess(&State);
    }
    if (!NT_SUCCESS(Status)) { /* memory may be short */
        Me->Errors += Status != STATUS_INSUFFICIENT_RESOURCES && Status != STATUS_NO_MEMORY;
        return;
    }
    PUCHAR Mapped = Way == 0 ? MmMapLockedPagesWithReservedMapping(Me->Reserved, 'sseR', &Kit.Mdl, MmCached)
                             : MmGetSystemAddressForMdlSafe(&Kit.Mdl, NormalPagePriority | MdlMappingNoExecute);
    for (ULONG Page = 0; Mapped && Page < Pages; Page++) {
        Me->Errors += Mapped[Page * PAGE_SIZE + 63] != Pattern(Me, First + Page);
        Mapped[Page * PAGE_SIZE + 100] = (UCHAR)Page;
        Me->Errors += KitFrame(Mapped + Page * PAGE_SIZE) != Kit.Frames[Page];
    }
    if (Way == 0) {
        MmUnmapReservedMapping(Me->Reserved, 'sseR', &Kit.Mdl);
    } else if (Way == 1 && Pages > 2) {
        Me->Errors += !NT_SUCCESS(MmAdvanceMdl(&Kit.Mdl, PAGE_SIZE + Pick(Me, PAGE_SIZE)));
        Me->Errors += ((PUCHAR)PAGE_ALIGN(Kit.Mdl.MappedSystemVa))[63] != Pattern(Me, First + 1);
    } else if (Way == 2 && Mapped) {
        MmUnmapLockedPages(Mapped, &Kit.Mdl);
    }
    MmUnlockPages(&Kit.Mdl);
}

/* A user mapping of nonpaged memory: unmapped, or left for the process to take along. */
static void MapToProcess(WORKER *Me, BOOLEAN Leave)
{
    KIT_MDL Kit;
    KAPC_STATE State;
    static UCHAR *Nonpaged;
    PUCHAR Once = __atomic_load_n(&Nonpaged, __ATOMIC_ACQUIRE), None = NULL;
    if (Once == NULL) {
        Once = MmAllocatePages(MmRegionNonPagedPool, 4, MM_PAGES_ZERO, NormalPoolPriority);
        memset(Once, 0x33, 4 * PAGE_SIZE);
        if (!__atomic_compare_exchange_n(&Nonpaged, &None, Once, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            MmFreePages(Once, 4);
            Once = None;
        }
    }
    MmInitializeMdl(&Kit.Mdl, Once, 4 * PAGE_SIZE);
    MmBuildMdlForNonPagedPool(&Kit.Mdl);
    KeStackAttachProcess(Me->Process, &State);
    PUCHAR volatile Mapped = NULL;
    __try {
        Mapped = MmMapLockedPagesSpecifyCache(&Kit.Mdl, UserMode, MmCached, NULL, FALSE, NormalPagePriority);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Mapped = NULL;
    }
    if (Mapped) {
        Me->Errors += Mapped[3 * PAGE_SIZE + 5] != 0x33;
        if (!Leave) {
            MmUnmapLockedPages(Mapped, &Kit.Mdl);
        }
    }
    KeUnstackDetachProcess(&State);
}

static VOID OnList(PDEVICE_OBJECT Object, PIRP Irp, PSCATTER_GATHER_LIST List, PVOID Context)
{
    (void)Object;
    (void)Irp;
    ((WORKER *)Context)->List = List;
}
static void TransferSome(WORKER *Me)
{
    KIT_MDL Kit;
    UCHAR Bytes[64];
    MmInitializeMdl(&Kit.Mdl, Me->Paged, PAGES * PAGE_SIZE);
    if (!NT_SUCCESS(KitLock(&Kit.Mdl, KernelMode, IoReadAccess))) {
        return;
    }
    KIRQL Old = AtDispatch();
    Me->List = NULL;
    NTSTATUS Status =
        OP(Me->Adapter)->GetScatterGatherList(Me->Adapter, &Device, &Kit.Mdl, Me->Paged, PAGES * PAGE_SIZE, OnList, Me, TRUE);
    if (NT_SUCCESS(Status) && Me->List) {
        IopDeviceAccess(&Device, (ULONG64)Me->List->Elements[0].Address.QuadPart, Bytes, 64, FALSE);
        Me->Errors += Bytes[63] != Pattern(Me, 0);
        OP(Me->Adapter)->PutScatterGatherList(Me->Adapter, Me->List, TRUE);
    } else {
        Me->Errors++;
    }
    KeLowerIrql(Old);
    MmUnlockPages(&Kit.Mdl);
}

static void Step(WORKER *Me)
{
    switch (Pick(Me, 24)) {
    case 0:
        (void)MiEmptyWorkingSet(&MiState->SystemWorkingSet);
        break;
    case 1: {
        SIZE_T Bytes = (1 + Pick(Me, 64)) * PAGE_SIZE;
        PVOID Block = MmAllocateContiguousMemory(Bytes, At(~0ull));
        if (Block) {
            memset(Block, 0xDD, Bytes);
            MmFreeContiguousMemory(Block);
        }
        break;
    }
    case 2: {
        PMDL Mdl = MmAllocatePagesForMdl(At(0), At(~0ull), At(0), (1 + Pick(Me, 100)) * PAGE_SIZE);
        if (Mdl) {
            PUCHAR Mapped = MmGetSystemAddressForMdlSafe(Mdl, LowPagePriority);
            Me->Errors += Mapped && Mapped[MmGetMdlByteCount(Mdl) - 1] != 0;
            MmFreePagesFromMdl(Mdl);
            ExFreePool(Mdl);
        }
        break;
    }
    case 3: /* the process ends, and a mapping with it; another one begins */
        MapToProcess(Me, TRUE);
        Me->Errors += !NT_SUCCESS(PspEndProcess(Me->Process, 0));
        ObDereferenceObject(Me->Process);
        MakeProcess(Me);
        break;
    case 4:
    case 5:
        MapToProcess(Me, FALSE);
        break;
    case 6:
    case 7:
        TransferSome(Me);
        break;
    case 8: {
        ULONG Page = Pick(Me, PAGES);
        Me->Errors += Me->Paged[Page * PAGE_SIZE + 10] != Pattern(Me, Page);
        break;
    }
    default:
        LockAndMap(Me, Pick(Me, 2) != 0);
    }
}

static void *Work(void *Argument)
{
    WORKER *Me = Argument;
    for (ULONG Round = 0; Round < ROUNDS; Round++) {
        pthread_barrier_wait(&Go);
        for (ULONG Count = 0; Count < STEPS; Count++) {
            Step(Me);
        }
        pthread_barrier_wait(&Stop);
    }
    return NULL;
}

static int Start(void **State)
{
    ntmm_options Options;
    char Value[80];
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 24u << 20;
    Options.cpus = 4;
    Options.nodes = 2;
    snprintf(PageFile, sizeof PageFile, "/tmp/ntmm_mdl_stress.%d", getpid());
    unlink(PageFile);
    snprintf(Value, sizeof Value, "%s", PageFile);
    if (ntmm_set_option(&Options, "pagefile", Value) || ntmm_set_option(&Options, "pagefile_size", "32M")) {
        return -1;
    }
    return ntmm_start(&Options);
}

static void EightThreads_LockMapTrimMoveAndEnd(void **State)
{
    pthread_t Threads[THREADS];
    (void)State;
    pthread_barrier_init(&Go, NULL, THREADS + 1);
    pthread_barrier_init(&Stop, NULL, THREADS + 1);
    for (ULONG Index = 0; Index < THREADS; Index++) {
        WORKER *Me = &Workers[Index];
        Me->Random = 0x9E3779B97F4A7C15ull * (Index + 1);
        Me->Mark = (UCHAR)(17 * (Index + 1));
        Me->Paged = MmAllocatePages(MmRegionPagedPool, PAGES, 0, NormalPoolPriority);
        for (ULONG Page = 0; Page < PAGES; Page++) {
            memset(Me->Paged + Page * PAGE_SIZE, Pattern(Me, Page), 64);
        }
        MakeProcess(Me);
        Me->Reserved = MmAllocateMappingAddress(PAGES * PAGE_SIZE, 'sseR');
        Me->Adapter = GetAdapter(2, Index % 2 ? 24 : 64, TRUE, NULL);
        assert_non_null(Me->Reserved);
        assert_non_null(Me->Adapter);
        assert_int_equal(Me->Errors, 0);
    }
    for (ULONG Index = 0; Index < THREADS; Index++) {
        pthread_create(&Threads[Index], NULL, Work, &Workers[Index]);
    }
    for (ULONG Round = 0; Round < ROUNDS; Round++) {
        pthread_barrier_wait(&Go);
        pthread_barrier_wait(&Stop);
        const CHAR *Broken = MiValidateAll();
        if (Broken) {
            fail_msg("round %u: %s", Round, Broken);
        }
    }
    for (ULONG Index = 0; Index < THREADS; Index++) {
        WORKER *Me = &Workers[Index];
        pthread_join(Threads[Index], NULL);
        assert_int_equal(Me->Errors, 0);
        OP(Me->Adapter)->PutDmaAdapter(Me->Adapter);
        MmFreeMappingAddress(Me->Reserved, 'sseR');
        assert_int_equal(PspEndProcess(Me->Process, 0), STATUS_SUCCESS);
        ObDereferenceObject(Me->Process);
        MmFreePages(Me->Paged, PAGES);
    }
    assert_int_equal(MiState->LockedPages, 0);
    assert_int_equal(MiState->Mappings.Count, 0);
    KitAssertValid();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {cmocka_unit_test(EightThreads_LockMapTrimMoveAndEnd)};
    return cmocka_run_group_tests(Tests, Start, KitStop);
}
