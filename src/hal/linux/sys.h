/*
 * sys.h - raw system calls and the private lock. SPDX-License-Identifier: MIT
 *
 * The fault path, and everything the sanitizers' runtimes must not watch, calls the kernel directly: their
 * interceptors would record a mapping as a write to all of it. A raw call touches neither errno nor
 * thread-local storage, so it is also what a signal handler may use. Results are the kernel's: negative is an
 * error number.
 */
#pragma once
#include <ntdef.h>
#include <sys/syscall.h>
#include <linux/futex.h>
#include <time.h>

static inline LONG64 HalpSyscall(LONG64 Number, ULONG64 A, ULONG64 B, ULONG64 C, ULONG64 D, ULONG64 E, ULONG64 F)
{
    register ULONG64 R10 __asm__("r10") = D;
    register ULONG64 R8 __asm__("r8") = E;
    register ULONG64 R9 __asm__("r9") = F;
    LONG64 Result;
    __asm__ volatile("syscall"
                     : "=a"(Result)
                     : "a"(Number), "D"(A), "S"(B), "d"(C), "r"(R10), "r"(R8), "r"(R9)
                     : "rcx", "r11", "memory");
    return Result;
}
static inline LONG64 HalpSyscall3(LONG64 Number, ULONG64 A, ULONG64 B, ULONG64 C)
{
    return HalpSyscall(Number, A, B, C, 0, 0, 0);
}
static inline BOOLEAN HalpFailed(LONG64 Result)
{
    return (ULONG64)Result >= (ULONG64)-4095;
}
static inline LONG64 HalpMmap(ULONG64 Va, ULONG64 Bytes, int Protection, int Flags, int File, ULONG64 Offset)
{
    return HalpSyscall(SYS_mmap, Va, Bytes, (ULONG64)Protection, (ULONG64)Flags, (ULONG64)(LONG64)File, Offset);
}
static inline LONG64 HalpMunmap(ULONG64 Va, ULONG64 Bytes)
{
    return HalpSyscall(SYS_munmap, Va, Bytes, 0, 0, 0, 0);
}
static inline LONG64 HalpMprotect(ULONG64 Va, ULONG64 Bytes, int Protection)
{
    return HalpSyscall(SYS_mprotect, Va, Bytes, (ULONG64)Protection, 0, 0, 0);
}
static inline LONG64 HalpFutexWait(volatile LONG *Word, LONG Expected, const struct timespec *Deadline)
{
    return HalpSyscall(SYS_futex, (ULONG64)Word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, (ULONG64)(ULONG)Expected,
                       (ULONG64)Deadline, 0, FUTEX_BITSET_MATCH_ANY);
}
static inline VOID HalpFutexWake(volatile LONG *Word, ULONG Count)
{
    HalpSyscall(SYS_futex, (ULONG64)Word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, Count > MAXLONG ? MAXLONG : Count, 0, 0, 0);
}

/* A futex lock: 0 free, 1 held, 2 held and someone sleeps. */
static inline VOID HalpAcquire(volatile LONG *Lock)
{
    LONG Seen = 0;
    if (__atomic_compare_exchange_n(Lock, &Seen, 1, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return;
    }
    for (ULONG i = 0; i < 100; i++) {
        __builtin_ia32_pause();
        Seen = 0;
        if (__atomic_load_n(Lock, __ATOMIC_RELAXED) == 0 &&
            __atomic_compare_exchange_n(Lock, &Seen, 1, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            return;
        }
    }
    while (__atomic_exchange_n(Lock, 2, __ATOMIC_ACQUIRE) != 0) {
        HalpFutexWait(Lock, 2, NULL);
    }
}
static inline VOID HalpRelease(volatile LONG *Lock)
{
    if (__atomic_exchange_n(Lock, 0, __ATOMIC_RELEASE) == 2) {
        HalpFutexWake(Lock, 1);
    }
}
