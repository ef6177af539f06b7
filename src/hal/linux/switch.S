/*
 * switch.S - calls with another stack pointer. SPDX-License-Identifier: MIT
 *
 *     VOID HalpCallOnStack(VOID (*Function)(PVOID, ULONG_PTR), PVOID Argument, ULONG_PTR Top)
 *         calls Function(Argument, S) with the stack pointer at Top, a multiple of 16. S is the caller's: whatever its stack holds
 *         lies at S or above.
 *     VOID HalpCallOnNewPage(VOID (*Function)(PVOID, ULONG_PTR), PVOID Argument)
 *         the same on the caller's own stack, from the next page on: S is the boundary that the calls lie below.
 *
 * The frame's CFA is found through rbp, which the called function keeps: unwinders and debuggers walk from one stack to the other.
 */
    .text
    .globl HalpCallOnStack, HalpCallOnNewPage
    .hidden HalpCallOnStack, HalpCallOnNewPage
    .type HalpCallOnStack, @function
    .type HalpCallOnNewPage, @function
    .p2align 4
HalpCallOnNewPage:
    .cfi_startproc
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    movq %rsp, %rbp
    .cfi_def_cfa_register %rbp
    movq %rdi, %rax
    movq %rsi, %rdi
    andq $-4096, %rsp
    movq %rsp, %rsi
    call *%rax
    movq %rbp, %rsp
    popq %rbp
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_endproc
    .size HalpCallOnNewPage, . - HalpCallOnNewPage

    .p2align 4
HalpCallOnStack:
    .cfi_startproc
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    movq %rsp, %rbp
    .cfi_def_cfa_register %rbp
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rbp, %rsi
    movq %rdx, %rsp
    call *%rax
    movq %rbp, %rsp
    popq %rbp
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_endproc
    .size HalpCallOnStack, . - HalpCallOnStack
    .section .note.GNU-stack,"",@progbits
