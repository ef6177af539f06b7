/*
 * tryread.S - a read that may fail. SPDX-License-Identifier: MIT
 *
 * BOOLEAN KiTryRead(const volatile ULONG64 *From, ULONG64 *Value)
 *
 * Reads eight bytes at From. FALSE, and *Value untouched, where the read faults and the memory manager cannot satisfy it:
 * memory that is not there, or not resident at a raised IRQL. For structures whose lock-free readers may look at memory
 * that its owner has just given back (ex/slist.c).
 *
 * The one instruction that may fault is KiTryReadAt; KiPageFaultUpcall (trap.c) sends a thread that faults on it to
 * KiTryReadFailed. No stack is used, so the frame needs no repair.
 */
        .text
        .globl  KiTryRead, KiTryReadAt, KiTryReadFailed
        .hidden KiTryRead, KiTryReadAt, KiTryReadFailed
        .type   KiTryRead, @function
KiTryRead:
        .cfi_startproc
KiTryReadAt:
        movq    (%rdi), %rax
        movq    %rax, (%rsi)
#ifdef NTMM_MSAN
        movabsq $0x500000000000, %rax   /* *Value has a value: its shadow is at the address with these bits flipped */
        xorq    %rax, %rsi
        movq    $0, (%rsi)
#endif
        movl    $1, %eax
        ret
KiTryReadFailed:
        xorl    %eax, %eax
        ret
        .cfi_endproc
        .size   KiTryRead, . - KiTryRead
/*
 * VOID KiTouch(const volatile VOID *Object)
 *
 * Reads a byte of a driver's dispatcher object before a lock is taken. A fault here is one at DISPATCH_LEVEL (trap.c).
 */
        .globl  KiTouch, KiTouchAt
        .hidden KiTouch, KiTouchAt
        .type   KiTouch, @function
KiTouch:
        .cfi_startproc
KiTouchAt:
        movzbl  (%rdi), %eax
        ret
        .cfi_endproc
        .size   KiTouch, . - KiTouch
        .section .note.GNU-stack,"",@progbits
