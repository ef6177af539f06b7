/*
 * context.S - saving a point of execution and going back to it; general registers only. SPDX-License-Identifier: MIT
 *
 * KI_JUMP (ki.h): rbx rbp r12 r13 r14 r15 rsp rip, eight bytes each.
 *
 *   KiSaveJump(Jump)         returns 0; returns again with KiRestoreJump's value, in the frame of its caller.
 *   KiRestoreJump(Jump, V)   makes KiSaveJump(Jump) return V. Frames below the saved stack pointer are gone.
 *
 * Points inside a function with a __try (wdm/seh.h): Rbp and Rip from the frame's jump buffer, Rsp the stack pointer there.
 *
 *   KiSehCall(Jump, Rbp, Rip, Rsp)   saves the caller's point in Jump, then goes to Rip with the function's frame pointer but
 *                                    a stack pointer below its own (aligned as Rsp is). KiRestoreJump(Jump, V) makes it
 *                                    return V.
 *   KiSehLand(Jump, Context, Rip)    the same, with Context's registers but rax and rdx, which a compiler's landing pad expects
 *                                    the exception in.
 *   KiSehGo(Rbp, Rip, Rsp)           goes there with that stack pointer.
 *   KiSehGoLow(Rbp, Rip, Rsp)        goes there with a stack pointer below the caller's.
 *
 *   RtlCaptureContext(Context)       the caller's registers as they are after the call.
 *   KiRestoreContext(Context)        makes them the registers: general, xmm and flags.
 *   KiCaptureVector(Context)         fills the x87 and xmm part.
 */
#ifdef NTMM_MSAN
/* Tells the memory sanitizer that the CONTEXT at rdi has values: its shadow is at the address with these bits flipped. */
.macro HAS_VALUES
    pushq %rax
    pushq %rcx
    pushq %rdi
    movabsq $0x500000000000, %rax
    xorq %rax, %rdi
    movl $0x4D0 / 8, %ecx
    xorl %eax, %eax
    rep stosq
    popq %rdi
    popq %rcx
    popq %rax
.endm
#else
.macro HAS_VALUES
.endm
#endif
    .text
    .globl KiSaveJump
    .hidden KiSaveJump
    .type KiSaveJump, @function
KiSaveJump:
    .cfi_startproc
    endbr64
    movq %rbx, 0(%rdi)
    movq %rbp, 8(%rdi)
    movq %r12, 16(%rdi)
    movq %r13, 24(%rdi)
    movq %r14, 32(%rdi)
    movq %r15, 40(%rdi)
    leaq 8(%rsp), %rax
    movq %rax, 48(%rdi)
    movq (%rsp), %rax
    movq %rax, 56(%rdi)
    xorl %eax, %eax
    ret
    .cfi_endproc
    .size KiSaveJump, . - KiSaveJump

    .globl KiRestoreJump
    .hidden KiRestoreJump
    .type KiRestoreJump, @function
KiRestoreJump:
    .cfi_startproc
    endbr64
    movl %esi, %eax
    movq 0(%rdi), %rbx
    movq 8(%rdi), %rbp
    movq 16(%rdi), %r12
    movq 24(%rdi), %r13
    movq 32(%rdi), %r14
    movq 40(%rdi), %r15
    movq 48(%rdi), %rsp
    jmpq *56(%rdi)
    .cfi_endproc
    .size KiRestoreJump, . - KiRestoreJump

    .globl KiSehCall
    .hidden KiSehCall
    .type KiSehCall, @function
KiSehCall:
    .cfi_startproc
    endbr64
    movq %rbx, 0(%rdi)
    movq %rbp, 8(%rdi)
    movq %r12, 16(%rdi)
    movq %r13, 24(%rdi)
    movq %r14, 32(%rdi)
    movq %r15, 40(%rdi)
    leaq 8(%rsp), %rax
    movq %rax, 48(%rdi)
    movq (%rsp), %rax
    movq %rax, 56(%rdi)
    leaq -256(%rsp), %rax
    andq $-64, %rax
    andl $63, %ecx
    addq %rcx, %rax
    movq %rax, %rsp
    movq %rsi, %rbp
    movl $1, %eax
    jmpq *%rdx
    .cfi_endproc
    .size KiSehCall, . - KiSehCall

    .globl KiSehLand
    .hidden KiSehLand
    .type KiSehLand, @function
KiSehLand:
    .cfi_startproc
    endbr64
    movq %rbx, 0(%rdi)
    movq %rbp, 8(%rdi)
    movq %r12, 16(%rdi)
    movq %r13, 24(%rdi)
    movq %r14, 32(%rdi)
    movq %r15, 40(%rdi)
    leaq 8(%rsp), %rax
    movq %rax, 48(%rdi)
    movq (%rsp), %rax
    movq %rax, 56(%rdi)
    movq 0x98(%rsi), %rcx
    leaq -256(%rsp), %rax
    andq $-64, %rax
    andl $63, %ecx
    addq %rcx, %rax
    movq %rax, %rsp
    pushq %rdx
    .cfi_adjust_cfa_offset 8
    movq 0x80(%rsi), %rcx
    movq 0x90(%rsi), %rbx
    movq 0xA0(%rsi), %rbp
    movq 0xB0(%rsi), %rdi
    movq 0xB8(%rsi), %r8
    movq 0xC0(%rsi), %r9
    movq 0xC8(%rsi), %r10
    movq 0xD0(%rsi), %r11
    movq 0xD8(%rsi), %r12
    movq 0xE0(%rsi), %r13
    movq 0xE8(%rsi), %r14
    movq 0xF0(%rsi), %r15
    movq 0xA8(%rsi), %rsi
    xorl %eax, %eax
    xorl %edx, %edx
    ret
    .cfi_endproc
    .size KiSehLand, . - KiSehLand

    .globl KiSehGo
    .hidden KiSehGo
    .type KiSehGo, @function
KiSehGo:
    .cfi_startproc
    endbr64
    movq %rdi, %rbp
    movq %rdx, %rsp
    movl $1, %eax
    jmpq *%rsi
    .cfi_endproc
    .size KiSehGo, . - KiSehGo

    .globl KiSehGoLow
    .hidden KiSehGoLow
    .type KiSehGoLow, @function
KiSehGoLow:
    .cfi_startproc
    endbr64
    leaq -256(%rsp), %rax
    andq $-64, %rax
    andl $63, %edx
    addq %rdx, %rax
    movq %rax, %rsp
    movq %rdi, %rbp
    movl $1, %eax
    jmpq *%rsi
    .cfi_endproc
    .size KiSehGoLow, . - KiSehGoLow

    .globl RtlCaptureContext
    .type RtlCaptureContext, @function
RtlCaptureContext:
    .cfi_startproc
    endbr64
    movl $0x10000F, 0x30(%rdi)
    stmxcsr 0x34(%rdi)
    movw %cs, 0x38(%rdi)
    movw %ss, 0x42(%rdi)
    movq %rax, 0x78(%rdi)
    movq %rcx, 0x80(%rdi)
    movq %rdx, 0x88(%rdi)
    movq %rbx, 0x90(%rdi)
    movq %rbp, 0xA0(%rdi)
    movq %rsi, 0xA8(%rdi)
    movq %rdi, 0xB0(%rdi)
    movq %r8, 0xB8(%rdi)
    movq %r9, 0xC0(%rdi)
    movq %r10, 0xC8(%rdi)
    movq %r11, 0xD0(%rdi)
    movq %r12, 0xD8(%rdi)
    movq %r13, 0xE0(%rdi)
    movq %r14, 0xE8(%rdi)
    movq %r15, 0xF0(%rdi)
    pushfq
    .cfi_adjust_cfa_offset 8
    popq %rax
    .cfi_adjust_cfa_offset -8
    movl %eax, 0x44(%rdi)
    leaq 8(%rsp), %rax
    movq %rax, 0x98(%rdi)
    movq (%rsp), %rax
    movq %rax, 0xF8(%rdi)
    fxsave 0x100(%rdi)
    movq 0x78(%rdi), %rax
    HAS_VALUES
    ret
    .cfi_endproc
    .size RtlCaptureContext, . - RtlCaptureContext

/* The flags, rdi and the target are put below the target's stack pointer, which is dead memory there (the Microsoft
 * convention has no red zone; System V code is only ever entered through KiSehGo). */
    .globl KiRestoreContext
    .hidden KiRestoreContext
    .type KiRestoreContext, @function
KiRestoreContext:
    .cfi_startproc
    endbr64
    fxrstor 0x100(%rdi)
    movq 0x98(%rdi), %rax
    subq $24, %rax
    movl 0x44(%rdi), %ecx
    movq %rcx, 0(%rax)
    movq 0xB0(%rdi), %rcx
    movq %rcx, 8(%rax)
    movq 0xF8(%rdi), %rcx
    movq %rcx, 16(%rax)
    movq 0x80(%rdi), %rcx
    movq 0x88(%rdi), %rdx
    movq 0x90(%rdi), %rbx
    movq 0xA0(%rdi), %rbp
    movq 0xA8(%rdi), %rsi
    movq 0xB8(%rdi), %r8
    movq 0xC0(%rdi), %r9
    movq 0xC8(%rdi), %r10
    movq 0xD0(%rdi), %r11
    movq 0xD8(%rdi), %r12
    movq 0xE0(%rdi), %r13
    movq 0xE8(%rdi), %r14
    movq 0xF0(%rdi), %r15
    pushq 0x78(%rdi)
    movq %rax, %rdi
    popq %rax
    movq %rdi, %rsp
    popfq
    popq %rdi
    ret
    .cfi_endproc
    .size KiRestoreContext, . - KiRestoreContext

    .globl KiCaptureVector
    .hidden KiCaptureVector
    .type KiCaptureVector, @function
KiCaptureVector:
    .cfi_startproc
    endbr64
    fxsave 0x100(%rdi)
    stmxcsr 0x34(%rdi)
    HAS_VALUES
    ret
    .cfi_endproc
    .size KiCaptureVector, . - KiCaptureVector

    .section .note.GNU-stack,"",@progbits
