/*
 * mm_kit.h - what the memory manager's tests share: a started system, expected stops, and accesses whose
 * instruction address is known, since it is one of the parameters. SPDX-License-Identifier: MIT
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ntddk.h>
#include <ntmm.h>
#include "mm/mi.h"

#define KIT_UNUSED __attribute__((unused))

static KIT_UNUSED int KitStart(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.special_pool_sample = 0; /* its pages come and go beside a test that counts */
    Options.ram = 64u << 20;
    Options.cpus = 2;
    return ntmm_start(&Options);
}
static KIT_UNUSED int KitStop(void **State)
{
    (void)State;
    return ntmm_stop();
}

/* Commitment less page tables, workers' stacks and what the pools hold, which come and go in their own time, beside any test.
 * With special_pool_sample=0: special pool's pages are not subtracted. */
static KIT_UNUSED ULONG64 KitCommitted(void)
{
    static const MM_REGION Pools[] = {MmRegionNonPagedPool, MmRegionPagedPool, MmRegionSystemData, MmRegionKernelStacks};
    ULONG64 Charged, Last = ~0ull;
    for (;;) { /* the numbers are several: twice the same is a moment at which nobody changed them */
        Charged =
            __atomic_load_n(&MiState->Committed, __ATOMIC_SEQ_CST) - __atomic_load_n(&MiState->TablePages, __ATOMIC_SEQ_CST);
        for (ULONG Index = 0; Index < ARRAYSIZE(Pools); Index++) {
            Charged -= __atomic_load_n(&MiState->Regions[Pools[Index]].PagesInUse, __ATOMIC_SEQ_CST);
        }
        if (Charged == Last) {
            return Charged;
        }
        Last = Charged;
    }
}

/* Each is one instruction at the function's own address: the fault's Rip is (ULONG_PTR)KitLoad or KitStore.
 */
UCHAR KitLoad(const volatile void *Address);
void KitStore(volatile void *Address, UCHAR Value);
__asm__(".text\n"
        ".type KitLoad,@function\nKitLoad: movb (%rdi), %al\n ret\n.size KitLoad,.-KitLoad\n"
        ".type KitStore,@function\nKitStore: movb %sil, (%rdi)\n ret\n.size KitStore,.-KitStore\n");

typedef struct _KIT_ACCESS {
    volatile void *Address;
    KIRQL Irql;
    char Kind; /* r w x */
} KIT_ACCESS;
static KIT_UNUSED void KitDoAccess(void *Argument)
{
    const KIT_ACCESS *Access = Argument;
    KIRQL Old = KeGetCurrentIrql();
    if (Access->Irql > Old) {
        KeRaiseIrql(Access->Irql, &Old);
    }
    if (Access->Kind == 'r') {
        (void)KitLoad(Access->Address);
    } else if (Access->Kind == 'w') {
        KitStore(Access->Address, 1);
    } else {
        ((void (*)(void))(ULONG_PTR)Access->Address)();
    }
    if (Access->Irql > Old) {
        KeLowerIrql(Old);
    }
}

/* Runs Function and expects exactly this stop, all five numbers. */
#define KitExpectStop(Function, Argument, Code, P1, P2, P3, P4)                                                                \
    do {                                                                                                                       \
        ntmm_bugcheck Stop_;                                                                                                   \
        assert_true(ntmm_catch((Function), (Argument), &Stop_));                                                               \
        assert_int_equal(Stop_.code, (Code));                                                                                  \
        assert_int_equal(Stop_.parameters[0], (ULONG_PTR)(P1));                                                                \
        assert_int_equal(Stop_.parameters[1], (ULONG_PTR)(P2));                                                                \
        assert_int_equal(Stop_.parameters[2], (ULONG_PTR)(P3));                                                                \
        assert_int_equal(Stop_.parameters[3], (ULONG_PTR)(P4));                                                                \
        assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);                                                                   \
    } while (0)
#define KitExpectAccessStop(Address_, Irql_, Kind_, Code, P1, P2, P3, P4)                                                      \
    do {                                                                                                                       \
        KIT_ACCESS Access_ = {(Address_), (Irql_), (Kind_)};                                                                   \
        KitExpectStop(KitDoAccess, &Access_, Code, P1, P2, P3, P4);                                                            \
    } while (0)

#define KitAssertValid() assert_ptr_equal(MiValidateAll(), NULL)

typedef struct _KIT_MDL {
    MDL Mdl;
    PFN_NUMBER Frames[64];
} KIT_MDL;

/* MmProbeAndLockPages, with what it raises as a value. */
static KIT_UNUSED NTSTATUS KitLock(PMDL Mdl, KPROCESSOR_MODE Mode, LOCK_OPERATION Operation)
{
    NTSTATUS Status = STATUS_SUCCESS;
    __try {
        MmProbeAndLockPages(Mdl, Mode, Operation);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    return Status;
}

/* What touching an address raises; 'r' or 'w'. */
static KIT_UNUSED NTSTATUS KitExceptionOf(volatile void *Address, char Kind)
{
    volatile NTSTATUS Status = STATUS_SUCCESS;
    __try {
        if (Kind == 'w') {
            *(volatile UCHAR *)Address = *(volatile UCHAR *)Address;
        } else {
            (void)*(volatile UCHAR *)Address;
        }
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    return Status;
}
#define KIT_EXCEPTION_OF(Address_, Kind_, Status_) assert_int_equal(KitExceptionOf((Address_), (Kind_)), (Status_))

static KIT_UNUSED PFN_NUMBER KitFrame(volatile void *Va)
{
    return (PFN_NUMBER)MmGetPhysicalAddress((PVOID)(ULONG_PTR)Va).QuadPart >> PAGE_SHIFT;
}

/* For the stress tests: a number that the environment may set, and the time since some moment. */
static KIT_UNUSED ULONG64 KitEnvironment(const char *Name, ULONG64 Default)
{
    const char *Text = getenv(Name);
    return Text ? strtoull(Text, NULL, 0) : Default;
}
static KIT_UNUSED ULONG64 KitMilliseconds(void)
{
    struct timespec Time;
    clock_gettime(CLOCK_MONOTONIC, &Time);
    return (ULONG64)Time.tv_sec * 1000 + (ULONG64)Time.tv_nsec / 1000000;
}
