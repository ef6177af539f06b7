/*
 * paging_stress_test.c - threads over four times RAM: paged pool written, read, locked, mapped, freed and trimmed at random,
 * every byte checked, validators on. SPDX-License-Identifier: MIT
 *
 * Each thread owns blocks of paged pool, of one byte to some pages, whose every eight bytes are a function of the block's address
 * and its generation; together they are four times RAM, so most of them are in the page file at any moment. What a thread does
 * next is random: verify a block, rewrite it, replace it, lock it (its frames must not change while everything else moves, and
 * what is written through a second mapping must be seen through the first), copy it, or empty the system's working set. A few
 * blocks are shared: all threads read and lock them at the same time (two faults on one page, a lock during a trim). Nonpaged
 * blocks, and pageable ones that stay locked and mapped, are there from the beginning to the end and must neither move nor change:
 * each thread looks now and then. One more thread runs MiValidateAll over and over while the others work.
 *
 *   NTMM_STRESS_SECONDS   how long, from when all data is there (default: 2)      NTMM_STRESS_THREADS   2 to 8
 *   NTMM_STRESS_RAM       MiB of RAM (default 16)                NTMM_STRESS_SEED
 *   NTMM_STRESS_DATA      MiB of blocks (default four times RAM; less than RAM leaves it by being trimmed alone)
 *   NTMM_STRESS_OPTIONS   more options of the system ("compression=on,io=threads")
 */
#include "mm_kit.h"
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define TAG      'sseS'
#define SHARED   16u
#define NONPAGED 32u
#define HELD     16u
#define MOST     8u
#define LARGEST  (6u * PAGE_SIZE)

typedef struct _BLOCK {
    ULONG64 *Va;
    ULONG Words;
    ULONG Generation;
} BLOCK;
typedef struct _WORKER {
    pthread_t Thread;
    ULONG64 Random, Steps, Errors, Refused;
    ULONG Count;
    BLOCK *Blocks;
    const char *What;
} WORKER;

static WORKER Workers[MOST];
static BLOCK Common[SHARED];
static BLOCK Fixed[NONPAGED];
static PHYSICAL_ADDRESS FixedAt[NONPAGED];
static BLOCK Held[HELD]; /* pageable, locked all the time */
static KIT_MDL HeldMdl[HELD];
static PFN_NUMBER HeldAt[HELD][LARGEST / PAGE_SIZE + 2];
static ULONG Threads = 4;
static ULONG64 Ram = 16, Data, Deadline = ~0ull, Lasts; /* ms */
static ULONG Filling;                                   /* threads that do not have all their data yet */
static volatile LONG Over;
static const CHAR *volatile Broken;
static volatile ULONG64 Validations;

static ULONG Pick(WORKER *Me, ULONG Below)
{
    Me->Random ^= Me->Random << 13;
    Me->Random ^= Me->Random >> 7;
    Me->Random ^= Me->Random << 17;
    return (ULONG)(Me->Random >> 20) % Below;
}
static ULONG64 Expected(const BLOCK *Block, ULONG Word)
{
    return ((ULONG64)(ULONG_PTR)(Block->Va + Word) << 20 ^ (ULONG64)Block->Generation * 0x9E3779B97F4A7C15ull) + Word;
}
static void Fill(BLOCK *Block)
{
    Block->Generation++;
    for (ULONG Word = 0; Word < Block->Words; Word++) {
        Block->Va[Word] = Expected(Block, Word);
    }
}
static void Verify(WORKER *Me, const BLOCK *Block)
{
    for (ULONG Word = 0; Word < Block->Words; Word++) {
        ULONG64 Found = __atomic_load_n(&Block->Va[Word], __ATOMIC_RELAXED);
        if (Found != Expected(Block, Word)) {
            if (Me->Errors++ < 3) {
                fprintf(stderr, "%s: %p word %u of %u: %llx, not %llx\n", Me->What, (void *)Block->Va, Word, Block->Words,
                        Found, Expected(Block, Word));
            }
            return;
        }
    }
}
static BOOLEAN Allocate(WORKER *Me, BLOCK *Block, POOL_FLAGS Pool)
{
    ULONG Bytes = Pick(Me, 4) ? 8 + Pick(Me, LARGEST - 8) : 8 + Pick(Me, 500);
    Block->Words = Bytes / 8;
    Block->Va = ExAllocatePool2(Pool | POOL_FLAG_UNINITIALIZED, (SIZE_T)Block->Words * 8, TAG);
    if (Block->Va) {
        Fill(Block);
    }
    return Block->Va != NULL;
}

/* Locked: the frames stay, and both addresses show them. */
static void Lock(WORKER *Me, BLOCK *Block, BOOLEAN Write)
{
    KIT_MDL Mdl;
    PMDL M = (PMDL)&Mdl;
    MmInitializeMdl(M, Block->Va, (SIZE_T)Block->Words * 8);
    BOOLEAN Locked = FALSE;
    __try {
        MmProbeAndLockPages(M, KernelMode, Write ? IoWriteAccess : IoReadAccess);
        Locked = TRUE;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
    }
    if (!Locked) {
        Me->Refused++;
        return;
    }
    ULONG Pages = (ULONG)ADDRESS_AND_SIZE_TO_SPAN_PAGES(Block->Va, (SIZE_T)Block->Words * 8);
    PFN_NUMBER Frames[LARGEST / PAGE_SIZE + 2];
    memcpy(Frames, MmGetMdlPfnArray(M), Pages * sizeof(*Frames));
    ULONG64 *Second = MmGetSystemAddressForMdlSafe(M, NormalPagePriority);
    if (Write && Second) {
        Block->Generation++;
        for (ULONG Word = 0; Word < Block->Words; Word++) {
            Second[Word] = Expected(Block, Word);
        }
    }
    if (Pick(Me, 64) == 0) {
        (void)MmTrimAllSystemPageableMemory(FALSE);
    }
    Me->What = "locked";
    Verify(Me, Block);
    for (ULONG Page = 0; Page < Pages; Page++) { /* touched just now; trimmed again perhaps, but if mapped, this is the frame */
        ULONG64 Physical = (ULONG64)MmGetPhysicalAddress((PUCHAR)PAGE_ALIGN(Block->Va) + (SIZE_T)Page * PAGE_SIZE).QuadPart;
        if (Physical && Physical >> PAGE_SHIFT != Frames[Page]) {
            Me->Errors++;
            fprintf(stderr, "a locked page moved\n");
        }
    }
    MmUnlockPages(M);
}

static void Hold(ULONG Index)
{
    PMDL M = (PMDL)&HeldMdl[Index];
    MmInitializeMdl(M, Held[Index].Va, (SIZE_T)Held[Index].Words * 8);
    MmProbeAndLockPages(M, KernelMode, IoWriteAccess);
    memcpy(HeldAt[Index], MmGetMdlPfnArray(M),
           ADDRESS_AND_SIZE_TO_SPAN_PAGES(Held[Index].Va, (SIZE_T)Held[Index].Words * 8) * sizeof(PFN_NUMBER));
    assert_non_null(MmGetSystemAddressForMdlSafe(M, NormalPagePriority));
}

/* What must not move has not, nor has what is in it changed, seen from either side. */
static void CheckFixed(WORKER *Me, ULONG Index)
{
    if (Index < NONPAGED) {
        Me->What = "nonpaged";
        Verify(Me, &Fixed[Index]);
        if (MmGetPhysicalAddress(Fixed[Index].Va).QuadPart != FixedAt[Index].QuadPart) {
            Me->Errors++;
            fprintf(stderr, "a nonpaged block moved\n");
        }
        return;
    }
    Index -= NONPAGED;
    PMDL M = (PMDL)&HeldMdl[Index];
    ULONG Pages = (ULONG)ADDRESS_AND_SIZE_TO_SPAN_PAGES(Held[Index].Va, (SIZE_T)Held[Index].Words * 8);
    BLOCK Second = Held[Index];
    Me->What = "held";
    Verify(Me, &Held[Index]);
    ULONG64 *Mapped = MmGetSystemAddressForMdlSafe(M, NormalPagePriority);
    for (ULONG Word = 0; Word < Second.Words; Word++) {
        if (Mapped[Word] != Expected(&Second, Word)) {
            Me->Errors++;
            fprintf(stderr, "a held block's mapping shows something else\n");
            break;
        }
    }
    for (ULONG Page = 0; Page < Pages; Page++) {
        ULONG64 Physical = (ULONG64)MmGetPhysicalAddress((PUCHAR)PAGE_ALIGN(Second.Va) + (SIZE_T)Page * PAGE_SIZE).QuadPart;
        if (MmGetMdlPfnArray(M)[Page] != HeldAt[Index][Page] || (Physical && Physical >> PAGE_SHIFT != HeldAt[Index][Page])) {
            Me->Errors++;
            fprintf(stderr, "a held page moved\n");
        }
    }
}

static void Step(WORKER *Me)
{
    BLOCK *Block = &Me->Blocks[Pick(Me, Me->Count)];
    UCHAR Copy[512];
    ULONG Turn = Pick(Me, 100);
    if (Block->Va == NULL) {
        (void)Allocate(Me, Block, POOL_FLAG_PAGED);
        return;
    }
    if (Turn < 40) {
        Me->What = "read";
        Verify(Me, Block);
    } else if (Turn < 60) {
        Me->What = "written";
        Fill(Block);
        Verify(Me, Block);
    } else if (Turn < 75) {
        Me->What = "freed";
        Verify(Me, Block);
        ExFreePoolWithTag(Block->Va, TAG);
        Block->Va = NULL;
        (void)Allocate(Me, Block, POOL_FLAG_PAGED);
    } else if (Turn < 83) {
        Lock(Me, Block, Turn & 1);
    } else if (Turn < 90) {
        ULONG Bytes = Block->Words * 8 < sizeof(Copy) ? Block->Words * 8 : (ULONG)sizeof(Copy);
        if (NT_SUCCESS(MmCopyFromManaged(Copy, Block->Va, Bytes)) && NT_SUCCESS(MmCopyToManaged(Block->Va, Copy, Bytes))) {
            Me->What = "copied";
            Verify(Me, Block);
        } else {
            Me->Refused++;
        }
    } else if (Turn < 92) {
        CheckFixed(Me, Pick(Me, NONPAGED + HELD));
    } else if (Turn < 98) {
        BLOCK *Ours = &Common[Pick(Me, SHARED)];
        Me->What = "shared";
        if (Turn & 1) {
            Lock(Me, Ours, FALSE);
        } else {
            Verify(Me, Ours);
        }
    } else if (Pick(Me, 40) == 0) {
        (void)MmTrimAllSystemPageableMemory(Pick(Me, 4) == 0);
    }
}
static BOOLEAN TimeIsUp(void)
{
    return __atomic_load_n(&Over, __ATOMIC_ACQUIRE) || KitMilliseconds() >= __atomic_load_n(&Deadline, __ATOMIC_ACQUIRE);
}
static void *Work(void *Argument)
{
    WORKER *Me = Argument;
    for (ULONG Index = 0; Index < Me->Count && !TimeIsUp(); Index++) {
        (void)Allocate(Me, &Me->Blocks[Index], POOL_FLAG_PAGED);
    }
    if (__atomic_sub_fetch(&Filling, 1, __ATOMIC_ACQ_REL) == 0) {
        __atomic_store_n(&Deadline, KitMilliseconds() + Lasts, __ATOMIC_RELEASE); /* all data is there: the time begins */
    }
    while (!TimeIsUp()) {
        Step(Me);
        Me->Steps++;
    }
    return NULL;
}
static void *Watch(void *Argument)
{
    (void)Argument;
    while (!TimeIsUp()) {
        ULONG64 Start = KitMilliseconds();
        const CHAR *Found = MiValidateAll();
        if (Found) {
            __atomic_store_n(&Broken, Found, __ATOMIC_RELEASE);
            __atomic_store_n(&Over, 1, __ATOMIC_RELEASE);
            return NULL;
        }
        Validations++;
        usleep((useconds_t)(20000 + 3000 * (KitMilliseconds() - Start))); /* the others' turn: they wait while it looks */
    }
    return NULL;
}

static void Paging_FourTimesRam_EveryByteIsRight(void **State)
{
    pthread_t Watcher;
    MM_COUNTERS Before, After;
    (void)State;
    WORKER *Self = &Workers[0];
    Self->Random = KitEnvironment("NTMM_STRESS_SEED", 1) * 0x9E3779B97F4A7C15ull;
    MmQueryCounters(&Before);
    for (ULONG Index = 0; Index < SHARED; Index++) {
        assert_true(Allocate(Self, &Common[Index], POOL_FLAG_PAGED));
    }
    for (ULONG Index = 0; Index < NONPAGED; Index++) {
        assert_true(Allocate(Self, &Fixed[Index], POOL_FLAG_NON_PAGED));
        FixedAt[Index] = MmGetPhysicalAddress(Fixed[Index].Va);
    }
    for (ULONG Index = 0; Index < HELD; Index++) {
        assert_true(Allocate(Self, &Held[Index], POOL_FLAG_PAGED));
        Hold(Index);
    }
    Lasts = 1000 * KitEnvironment("NTMM_STRESS_SECONDS", 2);
    Filling = Threads;
    for (ULONG Index = 0; Index < Threads; Index++) {
        WORKER *Me = &Workers[Index];
        Me->Random = (Index + 1 + KitEnvironment("NTMM_STRESS_SEED", 1)) * 0x9E3779B97F4A7C15ull;
        Me->Count = (ULONG)((Data << 20) / Threads / (LARGEST / 2 * 3 / 4));
        Me->Blocks = calloc(Me->Count, sizeof(BLOCK));
        assert_int_equal(pthread_create(&Me->Thread, NULL, Work, Me), 0);
    }
    assert_int_equal(pthread_create(&Watcher, NULL, Watch, NULL), 0);
    ULONG64 Steps = 0, Errors = 0, Refused = 0;
    for (ULONG Index = 0; Index < Threads; Index++) {
        pthread_join(Workers[Index].Thread, NULL);
        Steps += Workers[Index].Steps;
        Refused += Workers[Index].Refused;
    }
    pthread_join(Watcher, NULL);
    assert_string_equal(Broken ? Broken : "", "");
    for (ULONG Index = 0; Index < NONPAGED + HELD; Index++) {
        CheckFixed(Self, Index);
    }
    for (ULONG Index = 0; Index < NONPAGED; Index++) {
        ExFreePoolWithTag(Fixed[Index].Va, TAG);
    }
    for (ULONG Index = 0; Index < HELD; Index++) {
        MmUnlockPages((PMDL)&HeldMdl[Index]);
        ExFreePoolWithTag(Held[Index].Va, TAG);
    }
    for (ULONG Index = 0; Index < SHARED; Index++) {
        Self->What = "shared";
        Verify(Self, &Common[Index]);
        ExFreePoolWithTag(Common[Index].Va, TAG);
    }
    for (ULONG Index = 0; Index < Threads; Index++) {
        WORKER *Me = &Workers[Index];
        for (ULONG Block = 0; Block < Me->Count; Block++) {
            if (Me->Blocks[Block].Va) {
                Me->What = "at the end";
                Verify(Me, &Me->Blocks[Block]);
                ExFreePoolWithTag(Me->Blocks[Block].Va, TAG);
            }
        }
        free(Me->Blocks);
        Errors += Me->Errors;
    }
    MmQueryCounters(&After);
    print_message("%llu steps, %llu refused, %llu validations; faults: %llu demand zero, %llu soft, %llu hard, %llu collided, "
                  "%llu waited; pages: %llu in, %llu out, %llu trimmed, %llu repurposed\n",
                  Steps, Refused, Validations, After.DemandZeroFaults, After.SoftFaults, After.HardFaults, After.CollidedFaults,
                  After.PageWaits, After.PagesRead, After.PagesWritten, After.TrimmedPages, After.RepurposedPages);
    assert_int_equal(Errors, 0);
    assert_true(After.PagesWritten > Before.PagesWritten);
    assert_true(After.HardFaults > Before.HardFaults);
    assert_null(MiValidateAll());
}

static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    Threads = (ULONG)KitEnvironment("NTMM_STRESS_THREADS", 4);
    Threads = Threads < 1 ? 1 : Threads > MOST ? MOST : Threads;
    Ram = KitEnvironment("NTMM_STRESS_RAM", 16);
    Data = KitEnvironment("NTMM_STRESS_DATA", 4 * Ram);
    ntmm_default_options(&Options);
    Options.ram = Ram << 20;
    Options.cpus = 2;
    snprintf(Options.pagefile, sizeof(Options.pagefile), "/tmp/ntmm-stress-%d.sys", (int)getpid());
    Options.pagefile_size = 3 * (Data << 20) / 2;
    if (getenv("NTMM_STRESS_OPTIONS") && ntmm_parse_options(getenv("NTMM_STRESS_OPTIONS"), &Options) != 0) {
        print_error("%s\n", ntmm_error());
        return -1;
    }
    return ntmm_start(&Options);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {cmocka_unit_test(Paging_FourTimesRam_EveryByteIsRight)};
    return cmocka_run_group_tests_name("paging stress", Tests, Start, KitStop);
}
