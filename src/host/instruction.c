/*
 * instruction.c - the instruction that a stop is about, in words: "mov dword ptr [rax+0x10], ecx: writes 4 bytes".
 * SPDX-License-Identifier: MIT
 *
 * The bytes are read with a read that may fail (the code may be gone); Zydis decodes and formats them, on the stack, without the
 * heap. What an instruction reads or writes is that of its explicit memory operand; string and stack instructions, whose
 * operand is implied, are told by it too.
 */
#include "host.h"

#include <Zydis/Zydis.h>
#include <stdio.h>
#include <string.h>

VOID HostDescribeInstruction(ULONG_PTR Rip, char *Text, size_t Size)
{
    UCHAR Bytes[ZYDIS_MAX_INSTRUCTION_LENGTH + 1];
    ULONG Count = 0;
    ZydisDecoder Decoder;
    ZydisFormatter Formatter;
    ZydisDecodedInstruction Instruction;
    ZydisDecodedOperand Operands[ZYDIS_MAX_OPERAND_COUNT];
    char Words[96];
    Text[0] = 0;
    for (; Count < ZYDIS_MAX_INSTRUCTION_LENGTH; Count++) {
        ULONG64 Word;
        if (!KiTryRead((const volatile ULONG64 *)((Rip + Count) & ~7ull), &Word))
            break;
        Bytes[Count] = (UCHAR)(Word >> ((Rip + Count) & 7) * 8);
    }
    if (Count == 0 || !ZYAN_SUCCESS(ZydisDecoderInit(&Decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
        !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&Decoder, Bytes, Count, &Instruction, Operands)) ||
        !ZYAN_SUCCESS(ZydisFormatterInit(&Formatter, ZYDIS_FORMATTER_STYLE_INTEL)) ||
        !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&Formatter, &Instruction, Operands, Instruction.operand_count_visible,
                                                      Words, sizeof Words, Rip, ZYAN_NULL)))
        return;
    int Used = snprintf(Text, Size, "%s", Words);
    for (unsigned I = 0; I < Instruction.operand_count && Used > 0 && (size_t)Used < Size; I++) {
        const ZydisDecodedOperand *Operand = &Operands[I];
        if (Operand->type != ZYDIS_OPERAND_TYPE_MEMORY || Operand->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
            continue;
        BOOLEAN Reads = (Operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0,
                Writes = (Operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
        const char *Repeated = Instruction.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)
                                   ? " at a time"
                                   : "";
        Used += snprintf(Text + Used, Size - (size_t)Used, "%s %s %u byte%s%s", I == 0 || strchr(Text, ':') == NULL ? ":" : ",",
                         Reads && Writes ? "reads and writes"
                         : Writes        ? "writes"
                                         : "reads",
                         Operand->size / 8, Operand->size == 8 ? "" : "s", Repeated);
    }
}
