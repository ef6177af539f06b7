/*
 * emulate.c - privileged instructions of driver code, carried out as the kernel's processor would. SPDX-License-Identifier: MIT
 *
 * A driver binary runs unprivileged here, so these trap (vector 13, general protection). The trap layer asks the routine
 * below; TRUE means that the frame has been edited past the instruction. Only code in driver images is emulated:
 *
 *   mov r, cr8 / mov cr8, r   the IRQL, by KeRaiseIrql and KeLowerIrql: every driver inlines KeRaiseIrql as this
 *   mov r, cr0/cr2/cr3/cr4    constants of an x64 kernel (paging, protection, PAE, SSE; a directory base)
 *   cli, sti                  no effect: nothing here runs at interrupt level
 *   hlt                       gives the processor up once
 *   rdmsr                     EFER, the TSC, the GS base, the APIC base; others read as 0
 *   in, out                   no device answers: all ones; writes go nowhere
 *   invlpg, wbinvd, invd, clts   flush nothing that would show: skipped (invlpg flushes the page's translation)
 *   wrmsr, lgdt, lidt, swapgs, mov to cr0/3/4, mov dr   refused: the trap goes on as a privileged-instruction exception
 *
 * What does not trap and so differs silently: pushfq shows the host's interrupt flag, sgdt/sidt the host's tables.
 */
#include <Zydis/Zydis.h>
#include <string.h>
#include "ldr/ldrp.h"
#include "mm/mm.h"

static ULONG64 *LdrpRegister(HAL_TRAP_FRAME *Frame, ZydisRegister Register)
{
    switch (ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, Register)) {
    case ZYDIS_REGISTER_RAX:
        return &Frame->Rax;
    case ZYDIS_REGISTER_RBX:
        return &Frame->Rbx;
    case ZYDIS_REGISTER_RCX:
        return &Frame->Rcx;
    case ZYDIS_REGISTER_RDX:
        return &Frame->Rdx;
    case ZYDIS_REGISTER_RSI:
        return &Frame->Rsi;
    case ZYDIS_REGISTER_RDI:
        return &Frame->Rdi;
    case ZYDIS_REGISTER_RBP:
        return &Frame->Rbp;
    case ZYDIS_REGISTER_RSP:
        return &Frame->Rsp;
    case ZYDIS_REGISTER_R8:
        return &Frame->R8;
    case ZYDIS_REGISTER_R9:
        return &Frame->R9;
    case ZYDIS_REGISTER_R10:
        return &Frame->R10;
    case ZYDIS_REGISTER_R11:
        return &Frame->R11;
    case ZYDIS_REGISTER_R12:
        return &Frame->R12;
    case ZYDIS_REGISTER_R13:
        return &Frame->R13;
    case ZYDIS_REGISTER_R14:
        return &Frame->R14;
    case ZYDIS_REGISTER_R15:
        return &Frame->R15;
    default:
        return NULL;
    }
}

/* mov cr8, r: up or down. The direction decides the routine, as the WDK's KeRaiseIrql and KeLowerIrql inlines do. */
static VOID LdrpSetIrql(ULONG64 Value)
{
    KIRQL Old = KeGetCurrentIrql(), New = (KIRQL)(Value & 15);
    if (New > Old) {
        KeRaiseIrql(New, &Old);
    } else if (New < Old) {
        KeLowerIrql(New);
    }
}

static BOOLEAN LdrpReadControl(ZydisRegister Register, ULONG64 *Value)
{
    switch (Register) {
    case ZYDIS_REGISTER_CR0:
        *Value = 0x80050033;
        return TRUE; /* PE MP ET NE WP AM PG */
    case ZYDIS_REGISTER_CR2:
        *Value = 0;
        return TRUE;
    case ZYDIS_REGISTER_CR3:
        *Value = 0x1000;
        return TRUE;
    case ZYDIS_REGISTER_CR4:
        *Value = 0x6F8;
        return TRUE; /* DE PSE PAE MCE PGE OSFXSR OSXMMEXCPT; no OSXSAVE: no AVX */
    case ZYDIS_REGISTER_CR8:
        *Value = KeGetCurrentIrql();
        return TRUE;
    default:
        return FALSE;
    }
}

static BOOLEAN LdrpMoveControl(HAL_TRAP_FRAME *Frame, const ZydisDecodedOperand *Operands)
{
    ULONG64 Value, *Target;
    if (Operands[0].type != ZYDIS_OPERAND_TYPE_REGISTER || Operands[1].type != ZYDIS_OPERAND_TYPE_REGISTER) {
        return FALSE;
    }
    if ((Target = LdrpRegister(Frame, Operands[0].reg.value)) != NULL) {
        if (!LdrpReadControl(Operands[1].reg.value, &Value)) {
            return FALSE;
        }
        *Target = Value;
        return TRUE;
    }
    if (Operands[0].reg.value == ZYDIS_REGISTER_CR8 && (Target = LdrpRegister(Frame, Operands[1].reg.value)) != NULL) {
        LdrpSetIrql(*Target);
        return TRUE;
    }
    return FALSE;
}

static BOOLEAN LdrpReadMsr(HAL_TRAP_FRAME *Frame)
{
    ULONG64 Value;
    switch ((ULONG)Frame->Rcx) {
    case 0x10:
        Value = __builtin_ia32_rdtsc();
        break; /* TSC */
    case 0x1B:
        Value = 0xFEE00900;
        break; /* APIC base, enabled */
    case 0xC0000080:
        Value = 0xD01;
        break; /* EFER: SCE LME LMA NXE */
    case 0xC0000101:
        Value = (ULONG_PTR)KiCurrentThread()->Pcr;
        break; /* GS base */
    default:
        Value = 0;
        break;
    }
    Frame->Rax = (ULONG)Value;
    Frame->Rdx = Value >> 32;
    return TRUE;
}

static VOID LdrpReadPort(HAL_TRAP_FRAME *Frame, ULONG Bits)
{
    Frame->Rax |= Bits == 32 ? 0xFFFFFFFFull : (1ull << Bits) - 1;
    if (Bits == 32) {
        Frame->Rax &= 0xFFFFFFFFull;
    }
}

BOOLEAN LdrpEmulate(HAL_TRAP_FRAME *Frame)
{
    UCHAR Code[ZYDIS_MAX_INSTRUCTION_LENGTH];
    ZydisDecoder Decoder;
    ZydisDecodedInstruction Instruction;
    ZydisDecodedOperand Operands[ZYDIS_MAX_OPERAND_COUNT];
    const LDR_IMAGE *Image = LdrpFindImage(Frame->Rip);
    BOOLEAN Done = FALSE;
    if (Frame->Vector != 13 || Image == NULL || Frame->Rip - (ULONG_PTR)Image->Base >= Image->Size) {
        return FALSE;
    }
    /* The instruction as the driver has it now, in pages that may just have been modified. */
    SIZE_T Length = (ULONG_PTR)Image->Base + Image->Size - Frame->Rip;
    Length = Length < sizeof(Code) ? Length : sizeof(Code);
    if (!NT_SUCCESS(MmCopyFromManaged(Code, (const VOID *)Frame->Rip, Length))) {
        SIZE_T InPage = LDRP_PAGE_SIZE - (Frame->Rip & (LDRP_PAGE_SIZE - 1));
        if (InPage >= Length || !NT_SUCCESS(MmCopyFromManaged(Code, (const VOID *)Frame->Rip, InPage))) {
            return FALSE;
        }
        Length = InPage;
    }
    ZydisDecoderInit(&Decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&Decoder, Code, Length, &Instruction, Operands))) {
        return FALSE;
    }
    switch (Instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
        Done = LdrpMoveControl(Frame, Operands);
        break;
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_STI:
    case ZYDIS_MNEMONIC_WBINVD:
    case ZYDIS_MNEMONIC_INVD:
    case ZYDIS_MNEMONIC_CLTS:
    case ZYDIS_MNEMONIC_OUT:
        Done = TRUE;
        break;
    case ZYDIS_MNEMONIC_INVLPG: {
        ZyanU64 Address;
        ZydisRegisterContext Registers;
        memset(&Registers, 0, sizeof(Registers));
        for (ZydisRegister Register = ZYDIS_REGISTER_RAX; Register <= ZYDIS_REGISTER_R15; Register++) {
            Registers.values[Register] = *LdrpRegister(Frame, Register);
        }
        Registers.values[ZYDIS_REGISTER_RIP] = Frame->Rip;
        if (ZYAN_SUCCESS(ZydisCalcAbsoluteAddressEx(&Instruction, &Operands[0], Frame->Rip, &Registers, &Address))) {
            HalFlushTb((PVOID)(ULONG_PTR)(Address & ~0xFFFull), 1);
        }
        Done = TRUE;
        break;
    }
    case ZYDIS_MNEMONIC_HLT:
        HalYield();
        Done = TRUE;
        break;
    case ZYDIS_MNEMONIC_IN:
        LdrpReadPort(Frame, Operands[0].size);
        Done = TRUE;
        break;
    case ZYDIS_MNEMONIC_RDMSR:
        Done = LdrpReadMsr(Frame);
        break;
    default:
        break;
    }
    if (Done) {
        Frame->Rip += Instruction.length;
    }
    return Done;
}
