/*
 * stackswap_stress_test.c - threads that pass work around in user-mode waits while their stacks leave RAM and come back, memory is
 * three times too small, somebody looks into the stacks, and the validators run. SPDX-License-Identifier: MIT
 *
 * Environment: NTMM_STRESS_SECONDS (2).
 */
#include "mm_kit.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define THREADS 6u
#define WORDS   2500u /* of each thread's locals: five pages */
#define BLOCK   (1u << 20)
#define BLOCKS  40u

typedef struct _WORKER {
    KEVENT Turn;
    KSEMAPHORE Extra;
    volatile LONG64 Rounds, Wrong;
    volatile ULONG64 *volatile Words;
    PETHREAD Thread;
} WORKER;
static WORKER *Workers;
static volatile LONG Stop;

/* A race by design: what is there does not matter. */
__attribute__((no_sanitize("address", "thread"), noinline)) static void Look(const volatile ULONG64 *Word)
{
    (void)*Word;
}

static VOID Worker(PVOID Context)
{
    ULONG Me = (ULONG)(ULONG_PTR)Context;
    WORKER *W = &Workers[Me];
    volatile ULONG64 Words[WORDS];
    for (ULONG64 Round = 1; !__atomic_load_n(&Stop, __ATOMIC_ACQUIRE); Round++) {
        LARGE_INTEGER Soon = {.QuadPart = -20000};
        PVOID Both[2] = {&W->Turn, &W->Extra};
        for (ULONG i = 0; i < WORDS; i += 7) {
            Words[i] = Round * 0x9E3779B97F4A7C15ull + i;
        }
        __atomic_store_n(&W->Words, Words, __ATOMIC_RELEASE);
        switch (Round % 3) {
        case 0:
            (void)KeWaitForSingleObject(&W->Turn, UserRequest, UserMode, FALSE, &Soon);
            break;
        case 1:
            (void)KeWaitForMultipleObjects(2, Both, WaitAny, UserRequest, UserMode, FALSE, &Soon, NULL);
            break;
        default:
            (void)KeDelayExecutionThread(UserMode, FALSE, &Soon);
        }
        for (ULONG i = 0; i < WORDS; i += 7) {
            W->Wrong += Words[i] != Round * 0x9E3779B97F4A7C15ull + i;
        }
        __atomic_add_fetch(&W->Rounds, 1, __ATOMIC_RELAXED);
        KeSetEvent(&Workers[(Me + 1) % THREADS].Turn, 0, FALSE);
        if (Round % 5 == 0) {
            (void)KeReleaseSemaphore(&Workers[(Me + 2) % THREADS].Extra, 0, 1, FALSE);
        }
    }
}

static void Run(ntmm_swap_stacks Swap)
{
    const char *Seconds = getenv("NTMM_STRESS_SECONDS");
    ULONG64 Length = (Seconds ? strtoull(Seconds, NULL, 0) : 2) * 10000000 / 2; /* two runs */
    ntmm_options Options;
    PUCHAR Blocks[BLOCKS];
    ULONG64 Seed = 88172645463325252ull;
    ntmm_default_options(&Options);
    Options.ram = 16u << 20;
    Options.cpus = 2;
    Options.swap_stacks = Swap;
    Options.pagefile_check = true;
    snprintf(Options.pagefile, sizeof Options.pagefile, "/tmp/ntmm-stackstress-%d:96M", (int)getpid());
    assert_int_equal(ntmm_start(&Options), 0);
    Stop = 0;
    Workers = ExAllocatePool2(POOL_FLAG_NON_PAGED, THREADS * sizeof *Workers, 'krow');
    assert_non_null(Workers);
    for (ULONG i = 0; i < THREADS; i++) {
        KeInitializeEvent(&Workers[i].Turn, SynchronizationEvent, i == 0);
        KeInitializeSemaphore(&Workers[i].Extra, 0, 1 << 30);
    }
    for (ULONG i = 0; i < THREADS; i++) {
        HANDLE Handle;
        assert_int_equal(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Worker, (PVOID)(ULONG_PTR)i), 0);
        assert_int_equal(
            ObReferenceObjectByHandle(Handle, SYNCHRONIZE, *PsThreadType, KernelMode, (PVOID *)&Workers[i].Thread, NULL), 0);
        ZwClose(Handle);
    }
    for (ULONG i = 0; i < BLOCKS; i++) {
        Blocks[i] = ExAllocatePool2(POOL_FLAG_PAGED, BLOCK, 'klbS');
        assert_non_null(Blocks[i]);
        for (ULONG At = 0; At < BLOCK; At += PAGE_SIZE) {
            *(volatile ULONG64 *)(Blocks[i] + At) = (ULONG_PTR)Blocks[i] + At;
        }
    }
    ULONG64 End = KeQueryInterruptTime() + Length, Wrong = 0;
    for (ULONG Step = 0; KeQueryInterruptTime() < End; Step++) {
        Seed ^= Seed << 13, Seed ^= Seed >> 7, Seed ^= Seed << 17;
        volatile ULONG64 *Word = (volatile ULONG64 *)(Blocks[Seed % BLOCKS] + (Seed >> 8) % (BLOCK / PAGE_SIZE) * PAGE_SIZE);
        Wrong += *Word != (ULONG64)(ULONG_PTR)Word;
        if (Step % 16 == 0) {
            volatile ULONG64 *Theirs = __atomic_load_n(&Workers[(Seed >> 32) % THREADS].Words, __ATOMIC_ACQUIRE);
            if (Theirs) { /* a look into another thread's stack, at low IRQL */
                Look(&Theirs[(Seed >> 40) % (WORDS / 7) * 7]);
            }
        }
        if (Step % 64 == 0) {
            (void)KiTakeStacksOut(0);
        }
        if (Step % 512 == 0) {
            (void)MmTrimAllSystemPageableMemory(Step % 1024 == 0);
        }
        if (Step % 2048 == 0) {
            KitAssertValid();
        }
    }
    __atomic_store_n(&Stop, 1, __ATOMIC_RELEASE);
    LONG64 Rounds = 0;
    for (ULONG i = 0; i < THREADS; i++) {
        KeSetEvent(&Workers[i].Turn, 0, FALSE);
    }
    for (ULONG i = 0; i < THREADS; i++) {
        assert_int_equal(KeWaitForSingleObject(Workers[i].Thread, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
        ObDereferenceObject(Workers[i].Thread);
        assert_int_equal(Workers[i].Wrong, 0);
        assert_true(Workers[i].Rounds != 0);
        Rounds += Workers[i].Rounds;
    }
    assert_int_equal(Wrong, 0);
    assert_int_equal(KiCountStacksOut(), 0);
    assert_true(MiState->Pager.StacksOut != 0);
    assert_int_equal(MiState->Pager.StacksOut, MiState->Pager.StacksIn);
    print_message("%lld rounds, %llu stacks out\n", (long long)Rounds, (unsigned long long)MiState->Pager.StacksOut);
    for (ULONG i = 0; i < BLOCKS; i++) {
        ExFreePool(Blocks[i]);
    }
    ExFreePool(Workers);
    KitAssertValid();
    assert_int_equal(ntmm_stop(), 0);
}
static void Always(void **State)
{
    (void)State;
    Run(NTMM_SWAP_ALWAYS);
}
static void Auto(void **State)
{
    (void)State;
    Run(NTMM_SWAP_AUTO);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {cmocka_unit_test(Always), cmocka_unit_test(Auto)};
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
