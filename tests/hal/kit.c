/* kit.c - see kit.h. SPDX-License-Identifier: MIT */
#include "hal/kit.h"

KIT_FAULTS Kit;
volatile BOOLEAN KitCountOnly;
VOID (*KitOnFault)(HAL_TRAP_FRAME *Frame);
VOID (*KitOnTrap)(HAL_TRAP_FRAME *Frame);
VOID (*KitOnClock)(VOID);
VOID (*KitOnAttach)(VOID);
VOID (*KitOnDetach)(PVOID Thread);
BOOLEAN (*KitOnUnwind)(HAL_CONTEXT *Context);
VOID (*KitOnIoDone)(HAL_IO *Io);
ULONG KitIoEngine;

static HAL_RUN KitRuns[3];
static PFN_NUMBER KitNextTable, KitTop;
static int KitSelf; /* what the slot of every thread of the tests may hold */

/* ---- accesses: each is one instruction with a known way around it, found by its address ---- */
#if !KIT_SCRIPTED
extern const CHAR KitReadAt[], KitReadSkip[], KitWriteAt[], KitWriteSkip[], KitFetchSkip[];
ULONG64 KitDoRead(ULONG_PTR Va, ULONG64 *Value);
ULONG64 KitDoWrite(ULONG_PTR Va, ULONG64 Value);
ULONG64 KitDoFetch(ULONG_PTR Va);
__asm__(".text\n"
        "KitDoRead:\n"
        ".cfi_startproc\n"
        "  xorl %eax, %eax\n"
        "KitReadAt: movq (%rdi), %rcx\n"
        "  movq %rcx, (%rsi)\n"
        "  incl %eax\n"
        "KitReadSkip: ret\n"
        ".cfi_endproc\n"
        "KitDoWrite:\n"
        ".cfi_startproc\n"
        "  xorl %eax, %eax\n"
        "KitWriteAt: movq %rsi, (%rdi)\n"
        "  incl %eax\n"
        "KitWriteSkip: ret\n"
        ".cfi_endproc\n"
        "KitDoFetch:\n"
        ".cfi_startproc\n"
        "  subq $8, %rsp\n"
        ".cfi_adjust_cfa_offset 8\n"
        "  movl $1, %eax\n"
        "  call *%rdi\n" /* to a ret */
        "KitFetchReturn:\n"
        "  addq $8, %rsp\n"
        ".cfi_adjust_cfa_offset -8\n"
        "  ret\n"
        ".cfi_endproc\n");
extern const CHAR KitFetchReturn[];
VOID KitRefuse(HAL_TRAP_FRAME *Frame)
{
    if (Frame->Rip == (ULONG_PTR)KitReadAt) {
        Frame->Rip = (ULONG_PTR)KitReadSkip;
    } else if (Frame->Rip == (ULONG_PTR)KitWriteAt) {
        Frame->Rip = (ULONG_PTR)KitWriteSkip;
    } else if (*(ULONG64 *)Frame->Rsp == (ULONG_PTR)KitFetchReturn) {
        Frame->Rip = (ULONG_PTR)KitFetchReturn;
        Frame->Rsp += 8;
        Frame->Rax = 0;
    } else {
        fail_msg("a fault of no access of the kit's: rip %llx address %llx", Frame->Rip, Frame->FaultAddress);
    }
}
BOOLEAN KitTryRead(ULONG_PTR Va, ULONG64 *Value)
{
    return KitDoRead(Va, Value) != 0;
}
BOOLEAN KitTryWrite(ULONG_PTR Va, ULONG64 Value)
{
    return KitDoWrite(Va, Value) != 0;
}
BOOLEAN KitTryFetch(ULONG_PTR Va)
{
    return KitDoFetch(Va) != 0;
}
#else
VOID KitRefuse(HAL_TRAP_FRAME *Frame)
{
    Frame->Rip = 0; /* the double gives the access up when the core changed Rip */
}
BOOLEAN KitTryRead(ULONG_PTR Va, ULONG64 *Value)
{
    return HalScriptAccess(Va, sizeof(*Value), HAL_SCRIPT_READ, Value);
}
BOOLEAN KitTryWrite(ULONG_PTR Va, ULONG64 Value)
{
    return HalScriptAccess(Va, sizeof(Value), HAL_SCRIPT_WRITE, &Value);
}
BOOLEAN KitTryFetch(ULONG_PTR Va)
{
    UCHAR Code;
    return HalScriptAccess(Va, 1, HAL_SCRIPT_FETCH, &Code);
}
#endif
ULONG64 KitRead(ULONG_PTR Va)
{
    ULONG64 Value = 0;
    assert_true(KitTryRead(Va, &Value));
    return Value;
}
VOID KitWrite(ULONG_PTR Va, ULONG64 Value)
{
    assert_true(KitTryWrite(Va, Value));
}

/* ---- upcalls ---- */
static VOID KitPageFault(HAL_TRAP_FRAME *Frame)
{
    __atomic_add_fetch(&Kit.Count, 1, __ATOMIC_RELAXED);
    if (!KitCountOnly) {
        Kit.Last = *Frame;
    }
    if (KitOnFault) {
        KitOnFault(Frame);
    } else {
        fail_msg("page fault: address %llx error %llx rip %llx", Frame->FaultAddress, Frame->ErrorCode, Frame->Rip);
    }
}
static VOID KitTrap(HAL_TRAP_FRAME *Frame)
{
    __atomic_add_fetch(&Kit.Traps, 1, __ATOMIC_RELAXED);
    Kit.Last = *Frame;
    if (KitOnTrap) {
        KitOnTrap(Frame);
    } else {
        fail_msg("trap %llu: error %llx rip %llx", Frame->Vector, Frame->ErrorCode, Frame->Rip);
    }
}
static VOID KitClock(VOID)
{
    if (KitOnClock) {
        KitOnClock();
    }
}
static VOID KitAttach(VOID)
{
    if (KitOnAttach) {
        KitOnAttach();
    } else {
        HalSetCurrentThread(&KitSelf);
    }
}
static VOID KitDetach(PVOID Thread)
{
    if (KitOnDetach) {
        KitOnDetach(Thread);
    }
}
static BOOLEAN KitUnwind(HAL_CONTEXT *Context)
{
    return KitOnUnwind ? KitOnUnwind(Context) : FALSE;
}

static VOID KitIoDone(HAL_IO *Io)
{
    if (KitOnIoDone) {
        KitOnIoDone(Io);
    }
}

/* ---- the machine ---- */
HAL_MACHINE KitMachine(ULONG64 DataPages)
{
    KitRuns[0] = (HAL_RUN){KIT_TABLES, 4096, FALSE};
    KitRuns[1] = (HAL_RUN){KIT_DATA, DataPages, FALSE};
    KitRuns[2] = (HAL_RUN){KIT_DEVICE, 16, TRUE};
    return (HAL_MACHINE){.Version = HAL_VERSION,
                         .Runs = KitRuns,
                         .RunCount = 3,
                         .SystemBytes = 64ull << 30,
                         .UserBytes = 16ull << 30,
                         .Upcalls = {KitPageFault, KitTrap, KitClock, KitAttach, KitDetach, KitUnwind, KitIoDone}};
}
VOID KitStart(ULONG64 DataPages, ULONG TlbEntries)
{
    HAL_MACHINE Machine = KitMachine(DataPages);
    Machine.TlbEntries = TlbEntries;
    Machine.IoEngine = KitIoEngine;
    memset(&Kit, 0, sizeof(Kit));
    KitCountOnly = FALSE;
    KitOnFault = KitOnTrap = NULL;
    KitOnClock = KitOnAttach = NULL;
    KitOnDetach = NULL;
    KitOnUnwind = NULL;
    assert_int_equal(HalStartMachine(&Machine), STATUS_SUCCESS);
    assert_int_equal(HalSetCurrentThread(&KitSelf), STATUS_SUCCESS);
    KitNextTable = KIT_TABLES;
    KitTop = KitNextTable++;
    HalSetRootTable(KitTop);
}
VOID KitStop(VOID)
{
    HalStopMachine();
}
PFN_NUMBER KitRoot(VOID)
{
    return KitTop;
}
VOID KitUseRoot(PFN_NUMBER Root)
{
    KitTop = Root;
    HalSetRootTable(Root);
}
PFN_NUMBER KitNewRoot(VOID)
{
    PFN_NUMBER Root = KitNextTable++;
    ULONG Kernel = (ULONG)(HalFacts.SystemBase >> 39) & 511;
    KitFrame(Root)[Kernel] = KitFrame(KitTop)[Kernel];
    return Root;
}
static volatile ULONG64 *KitEntry(ULONG_PTR Va, ULONG Lowest)
{
    PFN_NUMBER Table = KitTop;
    for (ULONG Level = 4; Level > Lowest; Level--) {
        ULONG64 *Entry = &KitFrame(Table)[(Va >> (12 + 9 * (Level - 1))) & 511];
        if (!(*Entry & KIT_P)) {
            *Entry = (KitNextTable++ << 12) | KIT_P | KIT_W | KIT_U;
        }
        Table = HalpPteFrame(*Entry);
    }
    return &KitFrame(Table)[(Va >> (12 + 9 * (Lowest - 1))) & 511];
}
volatile ULONG64 *KitPte(ULONG_PTR Va)
{
    return KitEntry(Va, 1);
}
volatile ULONG64 *KitPde(ULONG_PTR Va)
{
    return KitEntry(Va, 2);
}
VOID KitMap(ULONG_PTR Va, PFN_NUMBER Frame, ULONG64 Bits)
{
    __atomic_store_n(KitPte(Va), (Frame << 12) | Bits, __ATOMIC_RELEASE);
}
VOID KitUnmap(ULONG_PTR Va)
{
    __atomic_store_n(KitPte(Va), 0, __ATOMIC_RELEASE);
}
ULONG_PTR KitVa(ULONG64 Page)
{
    return HalFacts.SystemBase + (Page << 12);
}
int KitSetup(void **State)
{
    (void)State;
    KitStart(2048, 0);
    return 0;
}
int KitTeardown(void **State)
{
    (void)State;
    if (HalFacts.WindowBase) {
        KitStop();
    }
    return 0;
}
