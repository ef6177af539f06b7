/*
 * trap.S - the trap entry: where a thread goes on after a fault that the TLB could not satisfy.
 * SPDX-License-Identifier: MIT
 *
 * The signal handler (trap.c) has put a HAL_TRAP_FRAME below the interrupted code's red zone and resumed the thread
 * here, outside signal context, on its own stack, with
 *     rbx = the frame,  rsp = rbp = a pair { interrupted rbp, interrupted rip } below it
 * so that a frame-pointer walk goes through. The entry saves the vector state, calls HalpTrapDispatch, restores, and
 * resumes what the frame says, with iretq; or, where HalpTrapReturnBySignal says that iretq cannot be had, by an
 * undefined instruction whose signal handler loads the frame.
 *
 *     interrupted rsp ->  .....................
 *                         128 bytes of red zone
 *     rbx ------------->  HAL_TRAP_FRAME          every register of the interrupted code
 *     rbp ------------->  rbp, rip
 *                         vector state, aligned to 64
 *     rsp ------------->
 *
 * Call-frame information: a signal frame; the CFA is the frame's Rsp, each register is in the frame. It holds for every
 * instruction, so debuggers, libunwind and C++ exceptions walk through.
 */
#define FRAME_RAX 0x00
#define FRAME_RBX 0x08
#define FRAME_RCX 0x10
#define FRAME_RDX 0x18
#define FRAME_RSI 0x20
#define FRAME_RDI 0x28
#define FRAME_RBP 0x30
#define FRAME_R8  0x38
#define FRAME_R9  0x40
#define FRAME_R10 0x48
#define FRAME_R11 0x50
#define FRAME_R12 0x58
#define FRAME_R13 0x60
#define FRAME_R14 0x68
#define FRAME_R15 0x70
#define FRAME_FAULT 0x88
#define FRAME_RIP 0x90
#define FRAME_RSP 0xA8

/* DW_CFA_expression: register \reg is saved at [rbx + \off] (offset as a two-byte SLEB128) */
.macro SAVED reg off
    .cfi_escape 0x10, \reg, 3, 0x73, (\off & 0x7f) | 0x80, \off >> 7
.endm
/* DW_CFA_expression: register \reg is saved at [rsp + \off], \off in -64..63 */
.macro ONSTACK reg off
    .cfi_escape 0x10, \reg, 2, 0x77, \off & 0x7f
.endm

    .text
    .globl HalpTrapEntry
    .hidden HalpTrapEntry
    .type HalpTrapEntry, @function
    .p2align 4
    nop /* an unwinder may look one byte before the entry */
HalpTrapEntry:
    .cfi_startproc simple
    .cfi_signal_frame
    /* DW_CFA_def_cfa_expression: *(rbx + FRAME_RSP) */
    .cfi_escape 0x0f, 4, 0x73, (FRAME_RSP & 0x7f) | 0x80, FRAME_RSP >> 7, 0x06
    SAVED 0, FRAME_RAX
    SAVED 1, FRAME_RDX
    SAVED 2, FRAME_RCX
    SAVED 3, FRAME_RBX
    SAVED 4, FRAME_RSI
    SAVED 5, FRAME_RDI
    SAVED 6, FRAME_RBP
    SAVED 7, FRAME_RSP
    SAVED 8, FRAME_R8
    SAVED 9, FRAME_R9
    SAVED 10, FRAME_R10
    SAVED 11, FRAME_R11
    SAVED 12, FRAME_R12
    SAVED 13, FRAME_R13
    SAVED 14, FRAME_R14
    SAVED 15, FRAME_R15
    SAVED 16, FRAME_RIP
    movl HalpVectorBytes(%rip), %eax
    subq %rax, %rsp
    andq $-64, %rsp
    movl HalpVectorMask(%rip), %eax
    movl HalpVectorMask+4(%rip), %edx
    cmpl $1, HalpVectorKind(%rip)
    jb 1f
    /* the header's reserved bytes must be zero for xrstor */
    xorl %ecx, %ecx
    movq %rcx, 512(%rsp)
    movq %rcx, 520(%rsp)
    movq %rcx, 528(%rsp)
    movq %rcx, 536(%rsp)
    movq %rcx, 544(%rsp)
    movq %rcx, 552(%rsp)
    movq %rcx, 560(%rsp)
    movq %rcx, 568(%rsp)
    je 2f
    xsavec64 (%rsp)
    jmp 3f
2:  xsave64 (%rsp)
    jmp 3f
1:  fxsave64 (%rsp)
3:  movq %rbx, %rdi
    call HalpTrapDispatch
    movl HalpVectorMask(%rip), %eax
    movl HalpVectorMask+4(%rip), %edx
    cmpl $1, HalpVectorKind(%rip)
    jb 1f
    xrstor64 (%rsp)
    jmp 2f
1:  fxrstor64 (%rsp)
2:  cmpl $0, HalpTrapReturnBySignal(%rip)
    jne 4f
    /* rbx is loaded last, from beside the words that iretq takes: within the red zone of the final rsp */
    movq FRAME_RBX(%rbx), %rax
    movq %rax, FRAME_FAULT(%rbx)
    movq FRAME_RAX(%rbx), %rax
    movq FRAME_RCX(%rbx), %rcx
    movq FRAME_RDX(%rbx), %rdx
    movq FRAME_RSI(%rbx), %rsi
    movq FRAME_RDI(%rbx), %rdi
    movq FRAME_RBP(%rbx), %rbp
    movq FRAME_R8(%rbx), %r8
    movq FRAME_R9(%rbx), %r9
    movq FRAME_R10(%rbx), %r10
    movq FRAME_R11(%rbx), %r11
    movq FRAME_R12(%rbx), %r12
    movq FRAME_R13(%rbx), %r13
    movq FRAME_R14(%rbx), %r14
    movq FRAME_R15(%rbx), %r15
    leaq FRAME_RIP(%rbx), %rsp
    .cfi_remember_state
    /* now *(rsp + 24); all registers but rbx, rsp and rip hold what they held */
    .cfi_escape 0x0f, 3, 0x77, FRAME_RSP - FRAME_RIP, 0x06
    .cfi_same_value 0
    .cfi_same_value 1
    .cfi_same_value 2
    .cfi_same_value 4
    .cfi_same_value 5
    .cfi_same_value 6
    .cfi_same_value 8
    .cfi_same_value 9
    .cfi_same_value 10
    .cfi_same_value 11
    .cfi_same_value 12
    .cfi_same_value 13
    .cfi_same_value 14
    .cfi_same_value 15
    ONSTACK 3, -8
    ONSTACK 7, 24
    ONSTACK 16, 0
    movq FRAME_FAULT-FRAME_RIP(%rsp), %rbx
    iretq
    .cfi_restore_state
4:  movq %rbx, %rsp
    .globl HalpTrapReturn
    .hidden HalpTrapReturn
HalpTrapReturn:
    ud2
    .cfi_endproc
    .size HalpTrapEntry, . - HalpTrapEntry

/* What the kernel returns to from the signal handler; debuggers and unwinders know it by these very bytes. */
    .globl HalpSignalReturn
    .hidden HalpSignalReturn
    .type HalpSignalReturn, @function
    .p2align 4
    nop
HalpSignalReturn:
    movq $15, %rax
    syscall
    .size HalpSignalReturn, . - HalpSignalReturn

    .section .note.GNU-stack,"",@progbits
