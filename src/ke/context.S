/*
 * context.S - saving a point of execution and going back to it; general registers only. SPDX-License-Identifier: MIT
 *
 * KI_JUMP (ki.h): rbx rbp r12 r13 r14 r15 rsp rip, eight bytes each.
 *
 *   KiSaveJump(Jump)         returns 0; returns again with KiRestoreJump's value, in the frame of its caller.
 *   KiRestoreJump(Jump, V)   makes KiSaveJump(Jump) return V. Frames below the saved stack pointer are gone.
 */
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

    .section .note.GNU-stack,"",@progbits
