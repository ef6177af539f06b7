/* linux_trap.c - point 5 of the contract over the Linux machine: what a fault finds and leaves.
 * SPDX-License-Identifier: MIT */
#include "hal/kit.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern ULONG HalpTrapReturnBySignal; /* trap.S: resume by a signal instead of iretq */

#define BASE 100u

static VOID MapAtFault(HAL_TRAP_FRAME *Frame)
{
    ULONG64 Page = (Frame->FaultAddress - HalFacts.SystemBase) >> 12;
    KitMap(Frame->FaultAddress & ~0xFFFull, KIT_DATA + Page % 1500, KIT_RW);
}

/* ---- registers: all general ones and the flags hold what they held ---- */
typedef struct _REGISTERS {
    ULONG64 G[15]; /* rax rbx rcx rdx rsi rdi rbp r8..r15 */
    ULONG64 Flags, Rsp, RedZone[16];
} REGISTERS;
/* Loads the general registers from In, fills the red zone, reads from the address in r15 (which faults),
 * stores all. */
VOID TrapRegisters(const REGISTERS *In, REGISTERS *Out);
__asm__(".text\n"
        "TrapRegisters:\n"
        "  pushq %rbx\n  pushq %rbp\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  pushq %rsi\n"
        "  movq 15*8(%rdi), %rax\n"
        "  pushq %rax\n"
        "  movq %rsp, TrapSavedRsp(%rip)\n"
        "  movq 0*8(%rdi), %rax\n  movq 1*8(%rdi), %rbx\n  movq 2*8(%rdi), %rcx\n  movq 3*8(%rdi), %rdx\n"
        "  movq 4*8(%rdi), %rsi\n  movq 6*8(%rdi), %rbp\n  movq 7*8(%rdi), %r8\n  movq 8*8(%rdi), %r9\n"
        "  movq 9*8(%rdi), %r10\n  movq 10*8(%rdi), %r11\n  movq 11*8(%rdi), %r12\n  movq 12*8(%rdi), %r13\n"
        "  movq 13*8(%rdi), %r14\n  movq 14*8(%rdi), %r15\n  movq 5*8(%rdi), %rdi\n"
        "  popfq\n" /* rsp + 8 from here on; the red zone lies below */
        "  movq %rax, -8(%rsp)\n  movq %rbx, -16(%rsp)\n  movq %rcx, -24(%rsp)\n  movq %rdx, -32(%rsp)\n"
        "  movq %rsi, -40(%rsp)\n  movq %rdi, -48(%rsp)\n  movq %rbp, -56(%rsp)\n  movq %r8, -64(%rsp)\n"
        "  movq %r9, -72(%rsp)\n  movq %r10, -80(%rsp)\n  movq %r11, -88(%rsp)\n  movq %r12, -96(%rsp)\n"
        "  movq %r13, -104(%rsp)\n  movq %r14, -112(%rsp)\n  movq %r15, -120(%rsp)\n  movq %rax, -128(%rsp)\n"
        "TrapRegistersAt: movb $1, (%r15)\n"
        /* the red zone must be read before anything is pushed: rsp moves down, it stays */
        "  leaq -128(%rsp), %rsp\n"
        "  pushfq\n"
        "  pushq %rdi\n"
        "  movq 144(%rsp), %rdi\n" /* Out */
        "  movq %rax, 0*8(%rdi)\n  movq %rbx, 1*8(%rdi)\n  movq %rcx, 2*8(%rdi)\n  movq %rdx, 3*8(%rdi)\n"
        "  movq %rsi, 4*8(%rdi)\n  popq %rax\n  movq %rax, 5*8(%rdi)\n  movq %rbp, 6*8(%rdi)\n"
        "  movq %r8, 7*8(%rdi)\n  movq %r9, 8*8(%rdi)\n  movq %r10, 9*8(%rdi)\n  movq %r11, 10*8(%rdi)\n"
        "  movq %r12, 11*8(%rdi)\n  movq %r13, 12*8(%rdi)\n  movq %r14, 13*8(%rdi)\n  movq %r15, 14*8(%rdi)\n"
        "  popq %rax\n  movq %rax, 15*8(%rdi)\n"
        "  leaq 120(%rsp), %rax\n  movq %rax, 16*8(%rdi)\n"
        "  movl $16, %ecx\n  movq %rsp, %rsi\n  leaq 17*8(%rdi), %rdi\n  cld\n  rep movsq\n"
        "  leaq 128(%rsp), %rsp\n"
        "  popq %rsi\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbp\n  popq %rbx\n"
        "  cld\n"
        "  ret\n"
        ".bss\nTrapSavedRsp: .zero 8\n.text\n");
extern ULONG64 TrapSavedRsp;
extern const CHAR TrapRegistersAt[];

static VOID Scribble(VOID)
{
    volatile ULONG64 Waste[256];
    for (ULONG i = 0; i < ARRAYSIZE(Waste); i++) {
        Waste[i] = ~0ull;
    }
    errno = EDOM;
    __asm__ volatile("pcmpeqb %%xmm0, %%xmm0; movdqa %%xmm0, %%xmm7; movdqa %%xmm0, %%xmm15; movdqa %%xmm0, %%xmm1\n\t"
                     "fld1; fstp %%st(0)"
                     :
                     :
                     : "xmm0", "xmm1", "xmm7", "xmm15");
}
static HAL_TRAP_FRAME Seen;
static VOID MapAndScribble(HAL_TRAP_FRAME *Frame)
{
    Seen = *Frame;
    ULONG64 Flags;
    __asm__ volatile("pushfq; popq %0" : "=r"(Flags));
    assert_int_equal(Flags & 0x400, 0); /* the direction flag is clear for the core */
    Scribble();
    MapAtFault(Frame);
}

static VOID Registers(VOID)
{
    REGISTERS In, Out;
    static const ULONG64 Flags[] = {0x202, 0x202 | 0x400 | 0x8D5, 0x202 | 1, 0x202 | 0x40};
    KitOnFault = MapAndScribble;
    for (ULONG f = 0; f < ARRAYSIZE(Flags); f++) {
        for (ULONG i = 0; i < 15; i++) {
            In.G[i] = 0x1111111111111111ull * (i + 1) + f;
        }
        In.G[14] = KitVa(BASE + f);
        In.Flags = Flags[f];
        memset(&Out, 0, sizeof(Out));
        TrapRegisters(&In, &Out);
        assert_memory_equal(In.G, Out.G, sizeof(In.G));
        assert_int_equal(Out.Flags & 0xCD5, Flags[f] & 0xCD5);
        for (ULONG i = 0; i < 16; i++) { /* -8 is the last of the sixteen */
            assert_int_equal(Out.RedZone[15 - i], i == 15 ? In.G[0] : In.G[i]);
        }
        assert_int_equal(Seen.Rip, (ULONG_PTR)TrapRegistersAt);
        assert_int_equal(Seen.Rsp, TrapSavedRsp + 8);
        assert_int_equal(Seen.FaultAddress, KitVa(BASE + f));
        assert_int_equal(Seen.ErrorCode, HALP_FAULT_WRITE);
        const ULONG64 Frame[15] = {Seen.Rax, Seen.Rbx, Seen.Rcx, Seen.Rdx, Seen.Rsi, Seen.Rdi, Seen.Rbp, Seen.R8,
                                   Seen.R9,  Seen.R10, Seen.R11, Seen.R12, Seen.R13, Seen.R14, Seen.R15};
        assert_memory_equal(In.G, Frame, sizeof(In.G));
        assert_int_equal(Seen.EFlags & 0xCD5, Flags[f] & 0xCD5);
    }
    assert_int_equal(Kit.Count, ARRAYSIZE(Flags));
}
static void Registers_FlagsAndRedZone_AreKept(void **State)
{
    (void)State;
    Registers();
}
static void Registers_AreKept_WhereIretqCannotBeHad(void **State)
{
    (void)State;
    ULONG Before = HalpTrapReturnBySignal;
    HalpTrapReturnBySignal = 1;
    Registers();
    HalpTrapReturnBySignal = Before;
}

static void Vectors_ArePreserved(void **State)
{
    (void)State;
    UCHAR In[16][16], Out[16][16];
    ULONG Mxcsr = 0x9F80, MxcsrAfter = 0, Default;
    USHORT Fcw = 0x27F, FcwAfter = 0, FcwDefault;
    KitOnFault = MapAndScribble;
    for (ULONG i = 0; i < sizeof(In); i++) {
        ((PUCHAR)In)[i] = (UCHAR)(i * 31 + 7);
    }
    __asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(Default), "=m"(FcwDefault));
    __asm__ volatile(
        "ldmxcsr %[m]\n\tfldcw %[c]\n\t"
        "movups 0(%[i]),%%xmm0; movups 16(%[i]),%%xmm1; movups 32(%[i]),%%xmm2; movups 48(%[i]),%%xmm3\n\t"
        "movups 64(%[i]),%%xmm4; movups 80(%[i]),%%xmm5; movups 96(%[i]),%%xmm6; movups 112(%[i]),%%xmm7\n\t"
        "movups 128(%[i]),%%xmm8; movups 144(%[i]),%%xmm9; movups 160(%[i]),%%xmm10; movups "
        "176(%[i]),%%xmm11\n\t"
        "movups 192(%[i]),%%xmm12; movups 208(%[i]),%%xmm13; movups 224(%[i]),%%xmm14; movups "
        "240(%[i]),%%xmm15\n\t"
        "movb $1, (%[va])\n\t"
        "movups %%xmm0,0(%[o]); movups %%xmm1,16(%[o]); movups %%xmm2,32(%[o]); movups %%xmm3,48(%[o])\n\t"
        "movups %%xmm4,64(%[o]); movups %%xmm5,80(%[o]); movups %%xmm6,96(%[o]); movups %%xmm7,112(%[o])\n\t"
        "movups %%xmm8,128(%[o]); movups %%xmm9,144(%[o]); movups %%xmm10,160(%[o]); movups "
        "%%xmm11,176(%[o])\n\t"
        "movups %%xmm12,192(%[o]); movups %%xmm13,208(%[o]); movups %%xmm14,224(%[o]); movups "
        "%%xmm15,240(%[o])\n\t"
        "stmxcsr %[ma]\n\tfnstcw %[ca]\n\tldmxcsr %[d]\n\tfldcw %[cd]"
        : [ma] "=m"(MxcsrAfter), [ca] "=m"(FcwAfter)
        : [i] "r"(In), [o] "r"(Out), [va] "r"(KitVa(BASE)), [m] "m"(Mxcsr), [c] "m"(Fcw), [d] "m"(Default), [cd] "m"(FcwDefault)
        : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
          "xmm13", "xmm14", "xmm15");
    assert_memory_equal(In, Out, sizeof(In));
    assert_int_equal(MxcsrAfter, Mxcsr);
    assert_int_equal(FcwAfter, Fcw);
    assert_int_equal(Kit.Count, 1);
}

__attribute__((target("avx"))) static void Ymm(void)
{
    UCHAR In[32], Out[32];
    for (ULONG i = 0; i < sizeof(In); i++) {
        In[i] = (UCHAR)(i + 1);
    }
    __asm__ volatile("vmovups (%0), %%ymm9\n\tmovb $1, (%2)\n\tvmovups %%ymm9, (%1)\n\tvzeroupper"
                     :
                     : "r"(In), "r"(Out), "r"(KitVa(BASE))
                     : "memory", "xmm9");
    assert_memory_equal(In, Out, sizeof(In));
}
static VOID UseYmm(HAL_TRAP_FRAME *Frame)
{
    __asm__ volatile("vpxor %%xmm9, %%xmm9, %%xmm9" : : : "xmm9"); /* clears all of ymm9 */
    MapAtFault(Frame);
}
static void UpperVectors_ArePreserved(void **State)
{
    (void)State;
    if (!__builtin_cpu_supports("avx")) {
        skip();
    }
    KitOnFault = UseYmm;
    Ymm();
}

static void Errno_IsPreserved(void **State)
{
    (void)State;
    KitOnFault = MapAndScribble;
    errno = ERANGE;
    *(volatile CHAR *)KitVa(BASE) = 1;
    int After = errno;
    assert_int_equal(Kit.Count, 1);
    assert_int_equal(After, ERANGE);
    *(volatile CHAR *)KitVa(BASE + 1) = 1;
    errno = ERANGE;
    (void)*(volatile CHAR *)KitVa(BASE);
    assert_int_equal(errno, ERANGE);
}

/* ---- what an upcall may do ---- */
static volatile ULONG Depth, Deepest;
static VOID Nested(HAL_TRAP_FRAME *Frame)
{
    Depth++;
    Deepest = Depth > Deepest ? Depth : Deepest;
    ULONG64 Page = (Frame->FaultAddress - HalFacts.SystemBase) >> 12;
    if (Page < BASE + 8) {
        *(volatile ULONG64 *)KitVa(Page + 1) = Page; /* faults in turn */
    }
    MapAtFault(Frame);
    Depth--;
}
static void Upcall_MayFaultAgain(void **State)
{
    (void)State;
    KitOnFault = Nested;
    Depth = Deepest = 0;
    *(volatile ULONG64 *)KitVa(BASE) = 3;
    assert_int_equal(Deepest, 9);
    assert_int_equal(Kit.Count, 9);
    assert_int_equal(*(volatile ULONG64 *)KitVa(BASE), 3);
    assert_int_equal(*(volatile ULONG64 *)KitVa(BASE + 4), BASE + 3);
}

static jmp_buf Away;
static VOID Leave(HAL_TRAP_FRAME *Frame)
{
    UNREFERENCED_PARAMETER(Frame);
    longjmp(Away, 1);
}
static void Upcall_MayNeverReturn(void **State)
{
    (void)State;
    sigset_t Blocked;
    KitOnFault = Leave;
    for (volatile ULONG i = 0; i < 100; i++) {
        if (setjmp(Away) == 0) {
            *(volatile ULONG64 *)KitVa(BASE) = 3;
            fail();
        }
    }
    assert_int_equal(Kit.Count, 100);
    pthread_sigmask(SIG_BLOCK, NULL, &Blocked);
    assert_false(sigismember(&Blocked, SIGSEGV) || sigismember(&Blocked, SIGALRM)); /* it ran outside signal context */
}

static volatile LONG Word;
static void *Waker(void *Argument)
{
    HalSetCurrentThread(Argument);
    __atomic_store_n(&Word, 1, __ATOMIC_SEQ_CST);
    HalWake(&Word, 1);
    HalSetCurrentThread(NULL);
    return NULL;
}
static VOID Block(HAL_TRAP_FRAME *Frame)
{
    pthread_t Thread;
    int Slot;
    Word = 0;
    assert_int_equal(pthread_create(&Thread, NULL, Waker, &Slot), 0);
    while (__atomic_load_n(&Word, __ATOMIC_SEQ_CST) == 0) {
        HalWait(&Word, 0, HAL_FOREVER);
    }
    pthread_join(Thread, NULL);
    MapAtFault(Frame);
}
static void Upcall_MayBlock(void **State)
{
    (void)State;
    KitOnFault = Block;
    *(volatile ULONG64 *)KitVa(BASE) = 3;
    assert_int_equal(Kit.Count, 1);
}

static void Fault_InsideLibraryCopies_GoesOn(void **State)
{
    (void)State;
    static CHAR Big[40000], Back[40000];
    KitOnFault = MapAtFault;
    for (ULONG i = 0; i < sizeof(Big); i++) {
        Big[i] = (CHAR)(i * 7);
    }
    memcpy((PVOID)(KitVa(BASE) + 100), Big, sizeof(Big));
    assert_int_equal(Kit.Count, 10);
    HalFlushEntireTb();
    memcpy(Back, (PVOID)(KitVa(BASE) + 100), sizeof(Back));
    assert_memory_equal(Big, Back, sizeof(Big));
    HalFlushEntireTb();
    assert_int_equal(memcmp(Big, (PVOID)(KitVa(BASE) + 100), sizeof(Big)), 0);
    memset((PVOID)KitVa(BASE + 20), 0x5A, 5 * 4096);
    memmove((PVOID)(KitVa(BASE + 20) + 50), (PVOID)KitVa(BASE + 20), 3 * 4096);
    assert_int_equal(Kit.Count, 15);
    assert_int_equal(*(volatile UCHAR *)(KitVa(BASE + 23) + 49), 0x5A);
}

/* ---- other vectors ---- */
static VOID SkipTrap(HAL_TRAP_FRAME *Frame)
{
    Frame->Rip += Frame->Vector == 3 ? 0 : 2; /* the instructions of the tests are two bytes long */
}
static VOID SkipFault(HAL_TRAP_FRAME *Frame)
{
    Frame->Rip = Frame->Rbx; /* where the test wants to go on */
}
#define EXPECT_TRAP(N, Code)                                                                                                   \
    do {                                                                                                                       \
        assert_int_equal(Kit.Last.Vector, N);                                                                                  \
        assert_int_equal(Kit.Last.ErrorCode, Code);                                                                            \
        assert_int_equal(Kit.Last.FaultAddress, 0);                                                                            \
    } while (0)
static void Traps_CarryTheArchitecturesVector(void **State)
{
    (void)State;
    ULONG_PTR At;
    KitOnTrap = SkipTrap;
    __asm__ volatile("leaq 1f(%%rip), %0\n1: ud2" : "=r"(At));
    EXPECT_TRAP(6, 0);
    assert_int_equal(Kit.Last.Rip, At);
    __asm__ volatile("leaq 1f(%%rip), %0\n int3\n1:" : "=r"(At));
    EXPECT_TRAP(3, 0);
    assert_int_equal(Kit.Last.Rip, At); /* behind it */
    __asm__ volatile("int $0x29");
    EXPECT_TRAP(13, (0x29 << 3) | 2);
    __asm__ volatile("int $0x2c");
    EXPECT_TRAP(13, (0x2c << 3) | 2);
    __asm__ volatile("xorl %%ecx, %%ecx; xorl %%edx, %%edx; movl $1, %%eax; divl %%ecx" : : : "rax", "rcx", "rdx", "cc");
    EXPECT_TRAP(0, 0);
    __asm__ volatile("hlt; nop");
    EXPECT_TRAP(13, 0);
    __asm__ volatile("cli; nop");
    EXPECT_TRAP(13, 0);
    assert_int_equal(Kit.Traps, 7);
    assert_int_equal(Kit.Count, 0);
}
static void NonCanonicalAddress_IsVector13WithoutAddress(void **State)
{
    (void)State;
    KitOnTrap = SkipTrap;
    __asm__ volatile("movb (%0), %%al" : : "c"(0x8000000000000000ull) : "rax"); /* two bytes: 8a 01 */
    EXPECT_TRAP(13, 0);
}
static void HostAddress_OfAnAttachedThread_IsAPageFault(void **State)
{
    (void)State;
    KitOnFault = SkipFault;
    __asm__ volatile("leaq 1f(%%rip), %%rbx; movb $1, (%0)\n1:" : : "r"(16ull) : "rbx", "memory");
    assert_int_equal(Kit.Last.Vector, 14);
    assert_int_equal(Kit.Last.FaultAddress, 16);
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_WRITE);
    static const CHAR Constant[16] = "constant";
    __asm__ volatile("leaq 1f(%%rip), %%rbx; movb $1, (%0)\n1:" : : "r"(Constant) : "rbx", "memory");
    assert_int_equal(Kit.Last.FaultAddress, (ULONG_PTR)Constant);
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_WRITE | HALP_FAULT_PROTECTION);
}

/* ---- code in simulated memory; user mode ---- */
static void Code_RunsAndFaults_InSimulatedMemory(void **State)
{
    (void)State;
    static const UCHAR Code[] = {0x89, 0xF8, 0x83, 0xC0, 0x05, 0xC3}; /* mov eax, edi; add eax, 5; ret */
    PFN_NUMBER Frame = KIT_DATA + 30;
    memcpy(HalWindow(Frame), Code, sizeof(Code));
    KitMap(KitVa(BASE), Frame, KIT_P);
    int (*Function)(int) = (int (*)(int))KitVa(BASE);
    assert_int_equal(Function(37), 42);
    /* the instruction crosses into a page that comes by a fault */
    memcpy((PCHAR)HalWindow(Frame) + 4094, Code, 2);
    memcpy(HalWindow(KIT_DATA + (BASE + 1) % 1500), Code + 2, 4);
    KitOnFault = MapAtFault;
    Function = (int (*)(int))(KitVa(BASE) + 4094);
    assert_int_equal(Function(1), 6);
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_FETCH);
    assert_int_equal(Kit.Last.FaultAddress, KitVa(BASE + 1));
}
static VOID ReturnToCaller(HAL_TRAP_FRAME *Frame)
{
    Frame->Rip = *(ULONG64 *)Frame->Rsp;
    Frame->Rsp += 8;
}
static void UserCode_HasTheUserBit(void **State)
{
    (void)State;
    static const UCHAR Code[] = {0x48, 0x89, 0x37, 0xC3}; /* mov [rdi], rsi; ret */
    ULONG_PTR User = HalFacts.UserBase + (9 << 12);
    memcpy(HalWindow(KIT_DATA), Code, sizeof(Code));
    KitMap(User, KIT_DATA, KIT_P | KIT_U);
    KitMap(User + 4096, KIT_DATA + 1, KIT_RW | KIT_U);
    KitMap(KitVa(BASE), KIT_DATA + 2, KIT_RW);
    VOID (*Store)(ULONG_PTR, ULONG64) = (VOID(*)(ULONG_PTR, ULONG64))User;
    Store(User + 4096, 7);
    assert_int_equal(KitFrame(KIT_DATA + 1)[0], 7);
    KitOnFault = ReturnToCaller;
    Store(KitVa(BASE), 7); /* a page of the kernel's */
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_USER | HALP_FAULT_WRITE | HALP_FAULT_PROTECTION);
    Store(KitVa(BASE + 1), 7);
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_USER | HALP_FAULT_WRITE);
}

/* ---- stacks ---- */
static VOID ThreadOnce(PVOID Argument)
{
    static int Slot;
    HalSetCurrentThread(&Slot);
    ((VOID(*)(VOID))Argument)();
    HalSetCurrentThread(NULL);
}
static ULONG_PTR DoubleFaultRsp;
static VOID EndThread(HAL_TRAP_FRAME *Frame)
{
    DoubleFaultRsp = Frame->Rsp;
    HalExitThread();
}
__attribute__((noinline)) static ULONG64 Recurse(volatile ULONG64 *Above)
{
    volatile ULONG64 Mine[64];
    Mine[0] = Above[0] + 1;
    return Mine[0] == 0 ? 0 : Recurse(Mine) + Mine[1];
}
static VOID Overflow(VOID)
{
    volatile ULONG64 Top[1] = {1};
    Recurse(Top);
}
static void StackUsedUp_IsADoubleFault(void **State)
{
    (void)State;
    PHAL_THREAD Thread;
    ULONG Pages = HalFacts.StackBytes / 4096;
    KitStop();
    KitStart(Pages + 64, 0);
    KitOnTrap = EndThread;
    KitOnFault = NULL;
    for (ULONG i = 0; i < Pages; i++) { /* below page BASE there is nothing: the guard */
        KitMap(KitVa(BASE + i), KIT_DATA + i, KIT_RW | KIT_NX);
    }
    assert_int_equal(HalFillTb((PVOID)KitVa(BASE), Pages, HAL_FILL_PINNED), STATUS_SUCCESS);
    assert_int_equal(HalCreateThread(ThreadOnce, Overflow, (PVOID)KitVa(BASE), HalFacts.StackBytes, &Thread), STATUS_SUCCESS);
    HalJoinThread(Thread);
    assert_int_equal(Kit.Last.Vector, 8);
    assert_true(DoubleFaultRsp < KitVa(BASE) + 0x2000 && DoubleFaultRsp > KitVa(BASE) - 0x2000);
    /* and on a stack of the host's */
    DoubleFaultRsp = 0;
    assert_int_equal(HalCreateThread(ThreadOnce, Overflow, NULL, 0, &Thread), STATUS_SUCCESS);
    HalJoinThread(Thread);
    assert_int_equal(Kit.Last.Vector, 8);
    assert_int_not_equal(DoubleFaultRsp, 0);
    assert_int_equal(Kit.Traps, 2);
}
static VOID TouchOnStack(VOID)
{
    *(volatile ULONG64 *)KitVa(5000) = 77;
}
static void Fault_OnAStackInSimulatedMemory_GoesOn(void **State)
{
    (void)State;
    PHAL_THREAD Thread;
    ULONG Pages = HalFacts.StackBytes / 4096;
    KitStop();
    KitStart(Pages + 2000, 0);
    KitOnFault = MapAtFault;
    for (ULONG i = 0; i < Pages; i++) {
        KitMap(KitVa(BASE + i), KIT_DATA + 1500 + i, KIT_RW | KIT_NX);
    }
    assert_int_equal(HalFillTb((PVOID)KitVa(BASE), Pages, HAL_FILL_PINNED), STATUS_SUCCESS);
    assert_int_equal(HalCreateThread(ThreadOnce, TouchOnStack, (PVOID)KitVa(BASE), HalFacts.StackBytes, &Thread),
                     STATUS_SUCCESS);
    HalJoinThread(Thread);
    assert_int_equal(Kit.Count, 1);
    assert_int_equal(*(volatile ULONG64 *)KitVa(5000), 77);
}

/* ---- whose fault is it ---- */
static volatile ULONG Attached;
static int LateSlot;
static VOID AttachLate(VOID)
{
    Attached++;
    HalSetCurrentThread(&LateSlot);
}
static void *TouchUnattached(void *Argument)
{
    volatile ULONG64 *Va = (volatile ULONG64 *)Argument;
    Va[0] = 11; /* present: no upcall, no attaching */
    BOOLEAN Early = HalCurrentThread() != NULL;
    Va[512] = 12; /* not present: attached, then the fault is handled */
    __asm__ volatile("" : : : "memory");
    return (void *)(ULONG_PTR)(Early || HalCurrentThread() != &LateSlot || Va[0] != 11 || Va[512] != 12);
}
static void UnattachedThread_FaultingOnOurs_IsAttached(void **State)
{
    (void)State;
    pthread_t Thread;
    void *Bad;
    KitOnFault = MapAtFault;
    KitOnAttach = AttachLate;
    Attached = 0;
    KitMap(KitVa(BASE), KIT_DATA, KIT_RW);
    assert_int_equal(pthread_create(&Thread, NULL, TouchUnattached, (PVOID)KitVa(BASE)), 0);
    pthread_join(Thread, &Bad);
    assert_null(Bad);
    assert_int_equal(Attached, 1);
    assert_int_equal(Kit.Count, 1);
}

static sigjmp_buf Chained;
static volatile int ChainedSignal;
static void OldHandler(int Signal, siginfo_t *Info, void *Context)
{
    (void)Context;
    ChainedSignal = Info->si_signo == Signal ? Signal : -1;
    siglongjmp(Chained, 1);
}
static void *FaultUnattached(void *Argument)
{
    (void)Argument;
    if (sigsetjmp(Chained, 1) == 0) {
        volatile int *volatile Nowhere = (volatile int *)8;
        *Nowhere = 1;
    }
    return NULL;
}
static void NotOurs_GoesToTheHandlerBefore(void **State)
{
    (void)State;
    struct sigaction New, Old;
    pthread_t Thread;
    KitStop();
    memset(&New, 0, sizeof(New));
    New.sa_sigaction = OldHandler;
    New.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &New, &Old);
    KitStart(1024, 0);
    ChainedSignal = 0;
    assert_int_equal(pthread_create(&Thread, NULL, FaultUnattached, NULL), 0);
    pthread_join(Thread, NULL);
    assert_int_equal(ChainedSignal, SIGSEGV);
    /* sent by somebody: also on an attached thread */
    ChainedSignal = 0;
    if (sigsetjmp(Chained, 1) == 0) {
        raise(SIGSEGV);
    }
    assert_int_equal(ChainedSignal, SIGSEGV);
    assert_int_equal(Kit.Count + Kit.Traps, 0);
    KitStop();
    struct sigaction Now; /* stopping gives the signal back */
    sigaction(SIGSEGV, &Old, &Now);
    assert_true(Now.sa_sigaction == OldHandler);
}
static void *DieUnattached(void *Argument)
{
    volatile int *Va = (volatile int *)Argument;
    *Va = 1;
    return NULL;
}
static void NotOurs_WithoutAHandler_EndsTheProcess(void **State)
{
    (void)State;
    KitStop();
    fflush(NULL);
    pid_t Child = fork();
    if (Child == 0) {
        pthread_t Thread;
        signal(SIGABRT, SIG_DFL);
        struct sigaction Default;
        memset(&Default, 0, sizeof(Default));
        sigaction(SIGSEGV, &Default, NULL);
        KitStart(1024, 0);
        pthread_create(&Thread, NULL, DieUnattached, (PVOID)8);
        pthread_join(Thread, NULL);
        _exit(0);
    }
    int Status;
    assert_int_equal(waitpid(Child, &Status, 0), Child);
    assert_true(WIFSIGNALED(Status) && WTERMSIG(Status) == SIGSEGV);
}

static volatile ULONG Alarms;
static void OnAlarm(int Signal)
{
    (void)Signal;
    Alarms++;
}
static void Signals_BesideFaults_DoNotDisturb(void **State)
{
    (void)State;
    struct sigaction New, Old;
    memset(&New, 0, sizeof(New));
    New.sa_handler = OnAlarm;
    New.sa_flags = SA_ONSTACK | SA_RESTART;
    sigaction(SIGUSR1, &New, &Old);
    Alarms = 0;
    KitOnFault = MapAtFault;
    timer_t Timer;
    struct sigevent Event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    assert_int_equal(timer_create(CLOCK_MONOTONIC, &Event, &Timer), 0);
    struct itimerspec Often = {{0, 200000}, {0, 200000}};
    timer_settime(Timer, 0, &Often, NULL);
    for (ULONG Round = 0; Round < 40 || Alarms < 20; Round++) {
        for (ULONG i = 0; i < 100; i++) {
            *(volatile ULONG64 *)KitVa(BASE + i) = Round * i;
        }
        for (ULONG i = 0; i < 100; i++) {
            assert_int_equal(*(volatile ULONG64 *)KitVa(BASE + i), Round * i);
            KitUnmap(KitVa(BASE + i));
        }
        HalFlushTb((PVOID)KitVa(BASE), 100);
    }
    timer_delete(Timer);
    sigaction(SIGUSR1, &Old, NULL);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        KIT_TEST(Registers_FlagsAndRedZone_AreKept),
        KIT_TEST(Registers_AreKept_WhereIretqCannotBeHad),
        KIT_TEST(Vectors_ArePreserved),
        KIT_TEST(UpperVectors_ArePreserved),
        KIT_TEST(Errno_IsPreserved),
        KIT_TEST(Upcall_MayFaultAgain),
        KIT_TEST(Upcall_MayNeverReturn),
        KIT_TEST(Upcall_MayBlock),
        KIT_TEST(Fault_InsideLibraryCopies_GoesOn),
        KIT_TEST(Traps_CarryTheArchitecturesVector),
        KIT_TEST(NonCanonicalAddress_IsVector13WithoutAddress),
        KIT_TEST(HostAddress_OfAnAttachedThread_IsAPageFault),
        KIT_TEST(Code_RunsAndFaults_InSimulatedMemory),
        KIT_TEST(UserCode_HasTheUserBit),
        KIT_TEST(StackUsedUp_IsADoubleFault),
        KIT_TEST(Fault_OnAStackInSimulatedMemory_GoesOn),
        KIT_TEST(UnattachedThread_FaultingOnOurs_IsAttached),
        KIT_TEST(NotOurs_GoesToTheHandlerBefore),
        KIT_TEST(NotOurs_WithoutAHandler_EndsTheProcess),
        KIT_TEST(Signals_BesideFaults_DoNotDisturb),
    };
    return cmocka_run_group_tests_name("hal.linux_trap", Tests, NULL, NULL);
}
