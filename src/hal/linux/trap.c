/*
 * trap.c - signals in, trap frames out. SPDX-License-Identifier: MIT
 *
 * The host reports a processor's fault as a signal. The handler here does as little as it can:
 *
 *     SIGSEGV at one of our addresses -> HalpTbFault: the tables satisfy it -> resume at once
 *            | they do not, or it is another fault
 *            v
 *     whose is it?  attached threads: the core's.  Others: the core's if the address or the code is ours;
 * else the |       handler that was there before is called (it sees what it would have seen without us)
 *            v
 *     a HAL_TRAP_FRAME on the interrupted stack, below the red zone; the thread resumes in trap.S, outside
 * signal context
 *            v
 *     HalpTrapDispatch: Upcalls.AttachThread if need be, Upcalls.PageFault or .Trap; then the translation
 * that the core just made is loaded, so that resuming does not fault a second time
 *
 * The error code of a fault at one of our addresses comes from the walk; elsewhere it is the processor's,
 * less its user bit. Code in the user range runs in user mode, all other code is the kernel's. A
 * general-protection fault that the processor reports without an address (non-canonical, privileged
 * instruction, `int 29h` as (0x29 << 3) | 2) is vector 13 with that error code and FaultAddress 0. `int3` is
 * vector 3 with Rip behind it. A host memory error is vector 18.
 *
 * A frame that does not fit on the interrupted stack (a kernel stack's guard page, the end of a host stack)
 * is a double fault: vector 8, on the thread's emergency stack.
 *
 * Invariants
 *  1. The handler calls nothing of libc, allocates nothing, leaves errno alone, and touches simulated memory
 * only after HalpTbFault said that it is mapped.
 *  2. Signals are installed, and seen, past the sanitizers: raw rt_sigaction with our own way back (trap.S).
 *  3. A fault with the interrupted stack pointer on our signal stack is never the core's: someone's signal
 * handler. Locks: none held across the upcall; HalpActionLock for the moment of a copy. Watch:
 * HalQueryTb.Faults; tests/hal/trap.c, tests/hal/linux_trap.c.
 */
#include <errno.h>
#include <signal.h>
#include <ucontext.h>
#include <cpuid.h>
#include <unistd.h>
#include "hal/linux/halp.h"
#include "hal/linux/guard.h"

#define RED_ZONE   128u
#define FLAG_TRAP  0x100ull
#define FLAG_DIR   0x400ull
#define FLAG_ALIGN 0x40000ull

/* The kernel's own form of struct sigaction. */
typedef struct _HALP_SIGACTION {
    VOID (*Handler)(int, siginfo_t *, PVOID);
    ULONG64 Flags;
    VOID (*Restorer)(VOID);
    ULONG64 Mask;
} HALP_SIGACTION;
#define KERNEL_SA_RESTORER 0x04000000ull

static const int HalpSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
/* What comes after us: guarded by HalpActionLock, whose holder does not fault. */
static HALP_SIGACTION HalpOldAction[ARRAYSIZE(HalpSignals)];
static volatile LONG HalpActionLock;

VOID HalpTrapEntry(VOID);
VOID HalpSignalReturn(VOID);
extern const CHAR HalpTrapReturn[] __attribute__((visibility("hidden")));
VOID HalpTrapDispatch(HAL_TRAP_FRAME *Frame);

/* Read by trap.S. Kind 0: fxsave, 1: xsave, 2: xsavec. */
ULONG HalpVectorKind, HalpVectorBytes;
ULONG64 HalpVectorMask;
ULONG HalpTrapReturnBySignal;

C_ASSERT(offsetof(HAL_TRAP_FRAME, R15) == 0x70 && offsetof(HAL_TRAP_FRAME, FaultAddress) == 0x88);
C_ASSERT(offsetof(HAL_TRAP_FRAME, Rip) == 0x90 && offsetof(HAL_TRAP_FRAME, Rsp) == 0xA8 && sizeof(HAL_TRAP_FRAME) == 0xB8);

/* The memory sanitizer passes what it knows of arguments and results in variables of the thread. What runs here comes between their
 * being set and their being read, and sets them too. Its own handlers keep them likewise. */
#ifdef NTMM_MSAN
typedef struct _HALP_SHADOW {
    ULONG64 Arguments[100], Results[100], Variable[100], Overflow;
    ULONG ArgumentOrigins[200], VariableOrigins[200], ResultOrigin;
} HALP_SHADOW;
#define MSAN_TLS extern _Thread_local __attribute__((tls_model("initial-exec")))
MSAN_TLS ULONG64 __msan_param_tls[100], __msan_retval_tls[100], __msan_va_arg_tls[100], __msan_va_arg_overflow_size_tls;
MSAN_TLS ULONG __msan_param_origin_tls[200], __msan_va_arg_origin_tls[200], __msan_retval_origin_tls;
VOID __msan_unpoison(const volatile VOID *Address, SIZE_T Bytes);

/* No call: memcpy is the sanitizer's. */
static inline VOID HalpCopyWords(PVOID To, const VOID *From, SIZE_T Bytes)
{
    SIZE_T Words = Bytes / 8;
    __asm__ volatile("rep movsq" : "+D"(To), "+S"(From), "+c"(Words) : : "memory");
}
#define HALP_KEEP(Field, Variable)   HalpCopyWords((Shadow)->Field, (Variable), sizeof((Shadow)->Field))
#define HALP_RETURN(Field, Variable) HalpCopyWords((Variable), (Shadow)->Field, sizeof((Shadow)->Field))

static VOID HalpKeepShadow(HALP_SHADOW *Shadow)
{
    HALP_KEEP(Arguments, __msan_param_tls);
    HALP_KEEP(Results, __msan_retval_tls);
    HALP_KEEP(Variable, __msan_va_arg_tls);
    HALP_KEEP(ArgumentOrigins, __msan_param_origin_tls);
    HALP_KEEP(VariableOrigins, __msan_va_arg_origin_tls);
    Shadow->Overflow = __msan_va_arg_overflow_size_tls;
    Shadow->ResultOrigin = __msan_retval_origin_tls;
    PVOID To = __msan_param_tls; /* the core's upcalls begin with arguments that have values */
    SIZE_T Words = ARRAYSIZE(__msan_param_tls);
    __asm__ volatile("rep stosq" : "+D"(To), "+c"(Words) : "a"(0) : "memory");
}

static VOID HalpReturnShadow(const HALP_SHADOW *Shadow)
{
    HALP_RETURN(Arguments, __msan_param_tls);
    HALP_RETURN(Results, __msan_retval_tls);
    HALP_RETURN(Variable, __msan_va_arg_tls);
    HALP_RETURN(ArgumentOrigins, __msan_param_origin_tls);
    HALP_RETURN(VariableOrigins, __msan_va_arg_origin_tls);
    __msan_va_arg_overflow_size_tls = Shadow->Overflow;
    __msan_retval_origin_tls = Shadow->ResultOrigin;
}
#define HalpHasValues(Address, Bytes) __msan_unpoison((Address), (Bytes))
#else
typedef struct _HALP_SHADOW {
    UCHAR Unused;
} HALP_SHADOW;
#define HalpKeepShadow(Shadow)        ((VOID)(Shadow))
#define HalpReturnShadow(Shadow)      ((VOID)(Shadow))
#define HalpHasValues(Address, Bytes) ((VOID)0)
#endif

static VOID HalpLoadFrame(const HAL_TRAP_FRAME *F, greg_t *G)
{
    G[REG_RAX] = (greg_t)F->Rax;
    G[REG_RBX] = (greg_t)F->Rbx;
    G[REG_RCX] = (greg_t)F->Rcx;
    G[REG_RDX] = (greg_t)F->Rdx;
    G[REG_RSI] = (greg_t)F->Rsi;
    G[REG_RDI] = (greg_t)F->Rdi;
    G[REG_RBP] = (greg_t)F->Rbp;
    G[REG_R8] = (greg_t)F->R8;
    G[REG_R9] = (greg_t)F->R9;
    G[REG_R10] = (greg_t)F->R10;
    G[REG_R11] = (greg_t)F->R11;
    G[REG_R12] = (greg_t)F->R12;
    G[REG_R13] = (greg_t)F->R13;
    G[REG_R14] = (greg_t)F->R14;
    G[REG_R15] = (greg_t)F->R15;
    G[REG_RIP] = (greg_t)F->Rip;
    G[REG_EFL] = (greg_t)F->EFlags;
    G[REG_RSP] = (greg_t)F->Rsp;
}

static VOID HalpSaveFrame(HAL_TRAP_FRAME *F, const greg_t *G)
{
    F->Rax = (ULONG64)G[REG_RAX];
    F->Rbx = (ULONG64)G[REG_RBX];
    F->Rcx = (ULONG64)G[REG_RCX];
    F->Rdx = (ULONG64)G[REG_RDX];
    F->Rsi = (ULONG64)G[REG_RSI];
    F->Rdi = (ULONG64)G[REG_RDI];
    F->Rbp = (ULONG64)G[REG_RBP];
    F->R8 = (ULONG64)G[REG_R8];
    F->R9 = (ULONG64)G[REG_R9];
    F->R10 = (ULONG64)G[REG_R10];
    F->R11 = (ULONG64)G[REG_R11];
    F->R12 = (ULONG64)G[REG_R12];
    F->R13 = (ULONG64)G[REG_R13];
    F->R14 = (ULONG64)G[REG_R14];
    F->R15 = (ULONG64)G[REG_R15];
    F->Rip = (ULONG64)G[REG_RIP];
    F->EFlags = (ULONG64)G[REG_EFL];
    F->Rsp = (ULONG64)G[REG_RSP];
    USHORT Cs, Ss; /* the same for all code of a 64-bit process */
    __asm__("mov %%cs, %0" : "=r"(Cs));
    __asm__("mov %%ss, %0" : "=r"(Ss));
    F->Cs = Cs;
    F->Ss = Ss;
}

static LONG HalpSignalIndex(int Signal)
{
    for (ULONG i = 0; i < ARRAYSIZE(HalpSignals); i++) {
        if (HalpSignals[i] == Signal) {
            return (LONG)i;
        }
    }
    return -1;
}

BOOLEAN HalpKeepAction(int Signal, const struct sigaction *New, struct sigaction *Old)
{
    LONG Index = HalpSignalIndex(Signal);
    HALP_SIGACTION Before, After = {0};
    if (Index < 0 || !__atomic_load_n(&HalpMachine.Started, __ATOMIC_ACQUIRE)) {
        return FALSE;
    }
    if (New) {
        After.Handler = (VOID(*)(int, siginfo_t *, PVOID))(PVOID)New->sa_sigaction;
        After.Flags = (ULONG64)(ULONG)New->sa_flags | KERNEL_SA_RESTORER;
        After.Restorer = HalpSignalReturn;
        __builtin_memcpy(&After.Mask, &New->sa_mask, sizeof(After.Mask));
    }
    HalpAcquire(&HalpActionLock);
    Before = HalpOldAction[Index];
    if (New) {
        HalpOldAction[Index] = After;
    }
    HalpRelease(&HalpActionLock);
    if (Old) {
        __builtin_memset(Old, 0, sizeof(*Old));
        Old->sa_sigaction = Before.Handler;
        Old->sa_flags = (int)(Before.Flags & ~KERNEL_SA_RESTORER);
        __builtin_memcpy(&Old->sa_mask, &Before.Mask, sizeof(Before.Mask));
    }
    return TRUE;
}

/* Hands the signal to whoever comes after us. */
static VOID HalpChainSignal(int Signal, siginfo_t *Info, PVOID Context)
{
    HALP_SIGACTION Old, Default = {0};
    LONG Index = HalpSignalIndex(Signal);
    HalpAcquire(&HalpActionLock);
    Old = HalpOldAction[Index];
    if (Old.Flags & SA_RESETHAND) {
        HalpOldAction[Index] = Default;
    }
    HalpRelease(&HalpActionLock);
    if (Old.Handler != (VOID(*)(int, siginfo_t *, PVOID))(PVOID)SIG_DFL &&
        Old.Handler != (VOID(*)(int, siginfo_t *, PVOID))(PVOID)SIG_IGN) {
        if (Old.Flags & SA_SIGINFO) {
            Old.Handler(Signal, Info, Context);
        } else {
            ((VOID(*)(int))(PVOID)Old.Handler)(Signal);
        }
        return;
    }
    /* The default: the faulting instruction runs again and the host ends the process; a breakpoint or a
     * signal that somebody sent does not come again by itself. */
    HalpSyscall(SYS_rt_sigaction, (ULONG64)Signal, (ULONG64)&Default, 0, 8, 0, 0);
    if (Info->si_code <= 0 || Signal == SIGTRAP) {
        HalpSyscall(SYS_tgkill, (ULONG64)HalpSyscall(SYS_getpid, 0, 0, 0, 0, 0, 0),
                    (ULONG64)HalpSyscall(SYS_gettid, 0, 0, 0, 0, 0, 0), (ULONG64)Signal, 0, 0, 0);
    }
}

/* Can [Low, High) of the interrupted stack be written? Loads it, if it is simulated memory. */
static BOOLEAN HalpStackUsable(ULONG_PTR Low, ULONG_PTR High, ULONG_PTR Rsp)
{
    if (HalpIsOurs(Low) || HalpIsOurs(High - 1)) {
        for (ULONG_PTR Va = Low & ~0xFFFull; Va < High; Va += HAL_PAGE_SIZE) {
            ULONG Error;
            if (!HalpIsOurs(Va) || !HalpTbFault(Va, HALP_FAULT_WRITE, &Error)) {
                return FALSE;
            }
        }
        return TRUE;
    }
    /* a host stack that we know: its guard area begins at StackLow */
    return HalpThread.StackHigh == 0 || Rsp >= HalpThread.StackHigh || Rsp + 0x10000 < HalpThread.StackLow ||
           Low >= HalpThread.StackLow + HAL_PAGE_SIZE;
}

/* A function of its own: it looks where its frame is, and writes below. */
static __attribute__((noinline)) VOID HalpSignalInside(int Signal, siginfo_t *Info, PVOID Context)
{
    ucontext_t *Uc = (ucontext_t *)Context;
    greg_t *G = Uc->uc_mcontext.gregs;
    ULONG64 Vector = (ULONG64)G[REG_TRAPNO], Va = 0;
    ULONG_PTR Rip = (ULONG_PTR)G[REG_RIP], Rsp = (ULONG_PTR)G[REG_RSP];
    ULONG Error = (ULONG)G[REG_ERR];
    BOOLEAN Ours = HalpIsOurs(Rip);

    if (Rip == (ULONG_PTR)HalpTrapReturn && Signal == SIGILL) {
        HalpLoadFrame((const HAL_TRAP_FRAME *)Rsp, G);
        return;
    }
    if (Info->si_code <= 0 || !__atomic_load_n(&HalpMachine.Started, __ATOMIC_RELAXED)) {
        HalpChainSignal(Signal, Info, Context);
        return;
    }
    if (Signal == SIGSEGV && Vector == 0) {
        Vector = 14; /* valgrind, of code that cannot be fetched */
        G[REG_CR2] = (greg_t)(ULONG_PTR)Info->si_addr;
    }
    if (Signal == SIGSEGV && Vector == 14) {
        Va = (ULONG_PTR)G[REG_CR2];
        if (Va == Rip && !(Error & HALP_FAULT_WRITE)) {
            Error |= HALP_FAULT_FETCH; /* an emulator may not say so */
        }
        ULONG Access =
            (Error & (HALP_FAULT_WRITE | HALP_FAULT_FETCH)) | (HalIsUserAddress(Rip) || HalpThread.User ? HALP_FAULT_USER : 0);
        Error = Access | (Error & HALP_FAULT_PROTECTION);
        if (HalpIsOurs(Va)) {
            if (HalpTbFault(Va, Access, &Error)) {
                return;
            }
            Ours = TRUE;
        }
    } else if (Signal == SIGBUS && Vector == 14) {
        Vector = 18;
        Error = 0;
    }
    if ((HalpCurrentThread == NULL && !Ours) || Rsp - HalpThread.AltLow < HalpThread.AltHigh - HalpThread.AltLow) {
        HalpChainSignal(Signal, Info, Context);
        return;
    }

    /* The frame goes under the red zone; without an alternate stack this handler's own frames lie there:
     * under them. */
    ULONG_PTR Top = Rsp - RED_ZONE, Here = (ULONG_PTR)__builtin_frame_address(0);
    if (Here < Rsp && Rsp - Here < 0x10000) {
        Top = Here - 4096;
    }
    HAL_TRAP_FRAME *F = (HAL_TRAP_FRAME *)((Top - sizeof(HAL_TRAP_FRAME)) & ~15ull);
    if (!HalpStackUsable((ULONG_PTR)F - 16, Top, Rsp)) {
        if (HalpThread.AltMapping == 0) {
            HalpChainSignal(Signal, Info, Context);
            return;
        }
        F = (HAL_TRAP_FRAME *)((HalpThread.EmergencyHigh - sizeof(HAL_TRAP_FRAME)) & ~15ull);
        Vector = 8;
        Error = 0;
    }
    HalpSaveFrame(F, G);
    F->Vector = Vector;
    F->ErrorCode = Error;
    F->FaultAddress = Vector == 14 ? Va : 0;
    ULONG64 *Pair = (ULONG64 *)F - 2;
    Pair[0] = F->Rbp;
    Pair[1] = F->Rip;
    HalpHasValues(Pair, sizeof(*F) + 16);
    G[REG_RBX] = (greg_t)F;
    G[REG_RBP] = G[REG_RSP] = (greg_t)Pair;
    G[REG_RIP] = (greg_t)(ULONG_PTR)HalpTrapEntry;
    G[REG_EFL] &= (greg_t) ~(FLAG_TRAP | FLAG_DIR | FLAG_ALIGN);
}

static VOID HalpSignal(int Signal, siginfo_t *Info, PVOID Context)
{
    HALP_SHADOW Shadow;
    HalpKeepShadow(&Shadow);
    HalpSignalInside(Signal, Info, Context);
    HalpReturnShadow(&Shadow);
}

/* Called by trap.S on the faulting thread's stack, as ordinary code. */
VOID HalpTrapDispatch(HAL_TRAP_FRAME *Frame)
{
    int SavedErrno = errno;
    BOOLEAN User = HalpThread.User;
    HALP_SHADOW Shadow;
    HalpKeepShadow(&Shadow);
    HalpThread.User = FALSE;
    ULONG64 Rip = Frame->Rip, Va = Frame->FaultAddress, Vector = Frame->Vector;
    ULONG Access = (ULONG)Frame->ErrorCode & HALP_ACCESS_MASK, Error;
    if (HalpCurrentThread == NULL && HalpMachine.Upcalls.AttachThread) {
        HalpMachine.Upcalls.AttachThread();
    }
    if (Vector == 14) {
        HalpMachine.Upcalls.PageFault(Frame);
        if (Frame->Rip == Rip && HalpIsOurs(Va)) {
            HalpTbFault(Va, Access, &Error);
        }
    } else {
        HalpMachine.Upcalls.Trap(Frame);
    }
    HalpThread.User = User;
    HalpReturnShadow(&Shadow);
    errno = SavedErrno;
}

BOOLEAN HalpUnderValgrind(VOID)
{
    /* The request "running on valgrind?", instructions that do nothing elsewhere. */
    volatile ULONG64 Request[6] = {0x1001, 0, 0, 0, 0, 0};
    ULONG64 Answer = 0;
    __asm__ volatile("rolq $3, %%rdi; rolq $13, %%rdi\n\trolq $61, %%rdi; rolq $51, %%rdi\n\txchgq %%rbx, %%rbx"
                     : "+d"(Answer)
                     : "a"(Request)
                     : "cc", "memory");
    return Answer != 0;
}

static VOID HalpSizeVectorState(VOID)
{
    ULONG A, B, C, D;
    HalpVectorKind = 0;
    HalpVectorBytes = 512;
    __cpuid(1, A, B, C, D);
    if (!(C & (1u << 27))) {
        return;
    }
    ULONG Low, High;
    __asm__ volatile("xgetbv" : "=a"(Low), "=d"(High) : "c"(0));
    ULONG64 Mask = ((ULONG64)High << 32 | Low) & ~(1ull << 9); /* not the protection keys */
    __cpuid_count(13, 0, A, B, C, D);
    HalpVectorKind = 1;
    HalpVectorBytes = B;
    if (HalpUnderValgrind()) {
        Mask &= 7; /* what it emulates */
    } else {
        __cpuid_count(13, 1, A, B, C, D);
        if (A & 2) {
            HalpVectorKind = 2;
            HalpVectorBytes = B > HalpVectorBytes ? B : HalpVectorBytes;
        }
    }
    HalpVectorMask = Mask;
}

NTSTATUS HalpStartTraps(VOID)
{
    HalpSizeVectorState();
    HalpTrapReturnBySignal = HalpUnderValgrind();
    /* While the handler runs only the processor's own faults get through: another handler that touched
     * simulated memory would wait for the lock that this thread holds. */
    HALP_SIGACTION Action = {.Handler = HalpSignal,
                             .Flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | KERNEL_SA_RESTORER,
                             .Restorer = HalpSignalReturn,
                             .Mask = ~0ull};
    for (ULONG i = 0; i < ARRAYSIZE(HalpSignals); i++) {
        Action.Mask &= ~(1ull << (HalpSignals[i] - 1));
    }
    for (ULONG i = 0; i < ARRAYSIZE(HalpSignals); i++) {
        HalpSyscall(SYS_rt_sigaction, (ULONG64)HalpSignals[i], (ULONG64)&Action, (ULONG64)&HalpOldAction[i], 8, 0, 0);
    }
    HalpGuardSignals();
    return STATUS_SUCCESS;
}

VOID HalpStopTraps(VOID)
{
    for (ULONG i = 0; i < ARRAYSIZE(HalpSignals); i++) {
        HalpSyscall(SYS_rt_sigaction, (ULONG64)HalpSignals[i], (ULONG64)&HalpOldAction[i], 0, 8, 0, 0);
    }
}
