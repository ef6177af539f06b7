/*
 * capture.S - RtlCaptureContext for binary drivers: it must see its caller's registers, so no compiled border entry can stand
 * in between. SPDX-License-Identifier: MIT
 */
    .section ntmm_border,"ax",@progbits
    .globl Border_RtlCaptureContext
    .hidden Border_RtlCaptureContext
    .type Border_RtlCaptureContext, @function
Border_RtlCaptureContext:
    .cfi_startproc
    endbr64
    movl $0x10000F, 0x30(%rcx)
    stmxcsr 0x34(%rcx)
    movw %cs, 0x38(%rcx)
    movw %ss, 0x42(%rcx)
    movq %rax, 0x78(%rcx)
    movq %rcx, 0x80(%rcx)
    movq %rdx, 0x88(%rcx)
    movq %rbx, 0x90(%rcx)
    movq %rbp, 0xA0(%rcx)
    movq %rsi, 0xA8(%rcx)
    movq %rdi, 0xB0(%rcx)
    movq %r8, 0xB8(%rcx)
    movq %r9, 0xC0(%rcx)
    movq %r10, 0xC8(%rcx)
    movq %r11, 0xD0(%rcx)
    movq %r12, 0xD8(%rcx)
    movq %r13, 0xE0(%rcx)
    movq %r14, 0xE8(%rcx)
    movq %r15, 0xF0(%rcx)
    pushfq
    .cfi_adjust_cfa_offset 8
    popq %rax
    .cfi_adjust_cfa_offset -8
    movl %eax, 0x44(%rcx)
    leaq 8(%rsp), %rax
    movq %rax, 0x98(%rcx)
    movq (%rsp), %rax
    movq %rax, 0xF8(%rcx)
    fxsave 0x100(%rcx)
    movq 0x78(%rcx), %rax
    ret
    .cfi_endproc
    .size Border_RtlCaptureContext, . - Border_RtlCaptureContext

    .section .note.GNU-stack,"",@progbits
