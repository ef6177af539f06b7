/*
 * host.h - the host's system calls, without the C library. SPDX-License-Identifier: MIT
 *
 * A small process pays for each part of the C library that it touches: the host maps its code and constants 64 KiB at a time. What the
 * heap needs of the host is called here directly, so that it touches none; and errno is nobody's but the program's.
 */
#pragma once
#include <sys/syscall.h>
#include <ntdef.h>

/* What the host answers: below 0 an error's number. */
static inline LONG64 HostCall(LONG64 Number, ULONG64 A, ULONG64 B, ULONG64 C, ULONG64 D, ULONG64 E, ULONG64 F)
{
    LONG64 Result;
    register ULONG64 R10 __asm__("r10") = D;
    register ULONG64 R8 __asm__("r8") = E;
    register ULONG64 R9 __asm__("r9") = F;
    __asm__ volatile("syscall"
                     : "=a"(Result)
                     : "a"(Number), "D"(A), "S"(B), "d"(C), "r"(R10), "r"(R8), "r"(R9)
                     : "rcx", "r11", "memory");
    return Result;
}

static inline LONG64 HostCall3(LONG64 Number, ULONG64 A, ULONG64 B, ULONG64 C)
{
    return HostCall(Number, A, B, C, 0, 0, 0);
}
