/*
 * cfi.c - one step out of a frame of host code, by its call-frame information. SPDX-License-Identifier: MIT
 *
 * Every function of an ELF image has a record (FDE) in .eh_frame that says, for each of its instructions,
 * where its caller's frame begins (the CFA) and where the registers that it must preserve are saved. A step
 * finds the record, runs its little program up to the instruction, and reads the registers back.
 *
 *     Rip --_dl_find_object--> .eh_frame_hdr --binary search--> FDE --> CIE
 *                                                                |      | first instructions
 *                                                                v      v
 *                                                   row for Rip: CFA rule, a rule per register
 *
 * Why not a library's: the border functions in src/ldr preserve xmm6-xmm15 as the Microsoft convention asks,
 * their records name those registers, and libunwind refuses a frame with a register beyond the general ones;
 * nor does any offer to step from a given context without allocating and without locks. Here nothing is
 * allocated, locked or cached.
 *
 * Memory is read only where it can be: on the thread's own stack, or where HalpReadable says so (one page is
 * remembered for the length of a step), so that a broken stack ends a walk and does not fault.
 *
 * Invariants
 *  1. A rule for a register that HAL_CONTEXT does not hold is parsed and ignored.
 *  2. Nothing is written but the caller's HAL_CONTEXT, and that only when the step succeeds.
 * Locks: none. Not instrumented (flags.cmake). Tests: tests/hal/stack.c, linux_stack.c.
 */
#include <dlfcn.h>
#include "hal/linux/halp.h"

#define REGISTERS  17u /* DWARF's numbers: rax rdx rcx rbx rsi rdi rbp rsp r8..r15, return address */
#define REG_RSP    7u
#define REG_RETURN 16u
#define MAX_SAVED  8u /* remembered rows */

typedef enum _CFI_RULE {
    RuleSame,
    RuleUndefined,
    RuleOffset,
    RuleValueOffset,
    RuleRegister,
    RuleExpression,
    RuleValueExpression
} CFI_RULE;

typedef struct _CFI_ROW {
    LONG64 Value[REGISTERS]; /* offset, register, or the address of an expression */
    LONG64 CfaOffset;
    const UCHAR *CfaExpression; /* NULL: register + offset */
    UCHAR Rule[REGISTERS];
    UCHAR CfaRegister;
} CFI_ROW;

typedef struct _CFI_READER {
    ULONG_PTR StackLow, StackHigh, GoodPage;
    ULONG64 Register[REGISTERS];
} CFI_READER;

typedef struct _CFI_RECORD {
    ULONG_PTR Begin, End;
    const UCHAR *First, *FirstEnd; /* the CIE's instructions */
    const UCHAR *Then, *ThenEnd;   /* the FDE's */
    ULONG64 CodeAlign;
    LONG64 DataAlign;
    ULONG64 ReturnRegister;
} CFI_RECORD;

/* ---- reading ---- */
static ULONG64 HalpUleb(const UCHAR **P)
{
    ULONG64 Value = 0;
    ULONG Shift = 0;
    UCHAR Byte;
    do {
        Byte = *(*P)++;
        if (Shift < 64) {
            Value |= (ULONG64)(Byte & 0x7F) << Shift;
        }
        Shift += 7;
    } while (Byte & 0x80);
    return Value;
}
static LONG64 HalpSleb(const UCHAR **P)
{
    ULONG64 Value = 0;
    ULONG Shift = 0;
    UCHAR Byte;
    do {
        Byte = *(*P)++;
        if (Shift < 64) {
            Value |= (ULONG64)(Byte & 0x7F) << Shift;
        }
        Shift += 7;
    } while (Byte & 0x80);
    if (Shift < 64 && (Byte & 0x40)) {
        Value |= ~0ull << Shift;
    }
    return (LONG64)Value;
}
static ULONG64 HalpFixed(const UCHAR **P, ULONG Bytes)
{
    ULONG64 Value = 0;
    __builtin_memcpy(&Value, *P, Bytes);
    *P += Bytes;
    return Value;
}
/* A pointer in one of the encodings that linkers emit; the format only for Relative FALSE (a length). */
static BOOLEAN HalpEncoded(const UCHAR **P, UCHAR Encoding, BOOLEAN Relative, ULONG64 *Value)
{
    const UCHAR *At = *P;
    if (Encoding == 0xFF) {
        *Value = 0;
        return TRUE;
    }
    switch (Encoding & 0x0F) {
    case 0x00:
    case 0x04:
    case 0x0C:
        *Value = HalpFixed(P, 8);
        break;
    case 0x01:
        *Value = HalpUleb(P);
        break;
    case 0x02:
        *Value = HalpFixed(P, 2);
        break;
    case 0x03:
        *Value = HalpFixed(P, 4);
        break;
    case 0x09:
        *Value = (ULONG64)HalpSleb(P);
        break;
    case 0x0A:
        *Value = (ULONG64)(LONG64)(SHORT)HalpFixed(P, 2);
        break;
    case 0x0B:
        *Value = (ULONG64)(LONG64)(LONG)HalpFixed(P, 4);
        break;
    default:
        return FALSE;
    }
    if (Relative && (Encoding & 0x70) == 0x10) {
        *Value += (ULONG_PTR)At;
    } else if (Relative && (Encoding & 0x70) != 0) {
        return FALSE;
    }
    return TRUE;
}
static BOOLEAN HalpReadWord(CFI_READER *Reader, ULONG_PTR Va, ULONG64 *Value)
{
    if (Va - Reader->StackLow > Reader->StackHigh - Reader->StackLow - 8 || Reader->StackHigh < Reader->StackLow + 8) {
        if ((Va & 7) != 0) {
            return FALSE;
        }
        if (Va >> 12 != Reader->GoodPage) {
            if (!HalpReadable(Va)) {
                return FALSE;
            }
            Reader->GoodPage = Va >> 12;
        }
    }
    *Value = *(const ULONG64 *)Va;
    return TRUE;
}

/* ---- finding the record ---- */
static BOOLEAN HalpParseRecord(const UCHAR *Fde, CFI_RECORD *Record)
{
    const UCHAR *P = Fde;
    ULONG64 Length = HalpFixed(&P, 4);
    if (Length == 0 || Length >= 0xFFFFFFF0) {
        return FALSE;
    }
    Record->ThenEnd = P + Length;
    const UCHAR *Cie = P - (LONG)HalpFixed(&P, 4);
    const UCHAR *C = Cie;
    Length = HalpFixed(&C, 4);
    if (Length == 0 || Length >= 0xFFFFFFF0) {
        return FALSE;
    }
    Record->FirstEnd = C + Length;
    if (HalpFixed(&C, 4) != 0) {
        return FALSE;
    }
    UCHAR Version = *C++;
    const CHAR *Augmentation = (const CHAR *)C;
    while (*C++ != 0) {
    }
    Record->CodeAlign = HalpUleb(&C);
    Record->DataAlign = HalpSleb(&C);
    Record->ReturnRegister = Version == 1 ? *C++ : HalpUleb(&C);
    UCHAR Encoding = 0;
    BOOLEAN Sized = Augmentation[0] == 'z';
    if (Sized) {
        ULONG64 Bytes = HalpUleb(&C), Ignored;
        const UCHAR *Data = C;
        C += Bytes;
        for (const CHAR *A = Augmentation + 1; *A != 0; A++) {
            if (*A == 'R') {
                Encoding = *Data++;
            } else if (*A == 'L') {
                Data++;
            } else if (*A == 'P') {
                UCHAR Personality = *Data++;
                if (!HalpEncoded(&Data, Personality & 0x7F, TRUE, &Ignored)) {
                    return FALSE;
                }
            } else if (*A != 'S' && *A != 'B') {
                return FALSE;
            }
        }
    } else if (Augmentation[0] != 0) {
        return FALSE;
    }
    Record->First = C;
    ULONG64 Begin, Range;
    if (!HalpEncoded(&P, Encoding, TRUE, &Begin) || !HalpEncoded(&P, Encoding, FALSE, &Range)) {
        return FALSE;
    }
    if (Sized) {
        ULONG64 Bytes = HalpUleb(&P);
        P += Bytes;
    }
    Record->Begin = Begin;
    Record->End = Begin + Range;
    Record->Then = P;
    return TRUE;
}
static BOOLEAN HalpFindRecord(ULONG_PTR Pc, CFI_RECORD *Record)
{
    struct dl_find_object Object;
    if (_dl_find_object((PVOID)Pc, &Object) != 0 || Object.dlfo_eh_frame == NULL) {
        return FALSE;
    }
    const UCHAR *Header = (const UCHAR *)Object.dlfo_eh_frame, *P = Header + 4;
    ULONG64 Frames, Count;
    if (Header[0] != 1 || Header[3] != 0x3B || !HalpEncoded(&P, Header[1], TRUE, &Frames) ||
        !HalpEncoded(&P, Header[2], FALSE, &Count) || Count == 0) {
        return FALSE; /* a table as every linker writes it: signed 32-bit offsets from the header */
    }
    const struct {
        LONG Pc, Fde;
    } *Table = (const void *)P;
    LONG64 Wanted = (LONG64)(Pc - (ULONG_PTR)Header);
    ULONG64 Low = 0, High = Count;
    if (Wanted < Table[0].Pc) {
        return FALSE;
    }
    while (High - Low > 1) {
        ULONG64 Middle = (Low + High) / 2;
        if (Table[Middle].Pc <= Wanted) {
            Low = Middle;
        } else {
            High = Middle;
        }
    }
    return HalpParseRecord(Header + Table[Low].Fde, Record) && Pc >= Record->Begin && Pc < Record->End;
}

/* ---- the record's program ---- */
static VOID HalpSetRule(CFI_ROW *Row, ULONG64 Register, UCHAR Rule, LONG64 Value)
{
    if (Register < REGISTERS) {
        Row->Rule[Register] = Rule;
        Row->Value[Register] = Value;
    }
}
static BOOLEAN HalpRunProgram(const CFI_RECORD *Record, const UCHAR *P, const UCHAR *End, ULONG_PTR *At, ULONG_PTR Pc,
                              CFI_ROW *Row, const CFI_ROW *Initial)
{
    CFI_ROW Saved[MAX_SAVED];
    ULONG Depth = 0;
    ULONG64 Register;
    const LONG64 Data = Record->DataAlign;
    while (P < End && *At <= Pc) {
        UCHAR Op = *P++, Low = Op & 0x3F;
        switch (Op & 0xC0) {
        case 0x40:
            *At += Low * Record->CodeAlign;
            continue;
        case 0x80:
            HalpSetRule(Row, Low, RuleOffset, (LONG64)HalpUleb(&P) * Data);
            continue;
        case 0xC0:
            if (Initial && Low < REGISTERS) {
                Row->Rule[Low] = Initial->Rule[Low];
                Row->Value[Low] = Initial->Value[Low];
            }
            continue;
        default:
            break;
        }
        switch (Op) {
        case 0x00: /* nop */
            break;
        case 0x01: /* set_loc */
            *At = HalpFixed(&P, 8);
            break;
        case 0x02:
            *At += HalpFixed(&P, 1) * Record->CodeAlign;
            break;
        case 0x03:
            *At += HalpFixed(&P, 2) * Record->CodeAlign;
            break;
        case 0x04:
            *At += HalpFixed(&P, 4) * Record->CodeAlign;
            break;
        case 0x05: /* offset_extended */
            Register = HalpUleb(&P);
            HalpSetRule(Row, Register, RuleOffset, (LONG64)HalpUleb(&P) * Data);
            break;
        case 0x06: /* restore_extended */
            Register = HalpUleb(&P);
            if (Initial && Register < REGISTERS) {
                Row->Rule[Register] = Initial->Rule[Register];
                Row->Value[Register] = Initial->Value[Register];
            }
            break;
        case 0x07:
            HalpSetRule(Row, HalpUleb(&P), RuleUndefined, 0);
            break;
        case 0x08:
            HalpSetRule(Row, HalpUleb(&P), RuleSame, 0);
            break;
        case 0x09: /* register */
            Register = HalpUleb(&P);
            HalpSetRule(Row, Register, RuleRegister, (LONG64)HalpUleb(&P));
            break;
        case 0x0A:
            if (Depth == MAX_SAVED) {
                return FALSE;
            }
            Saved[Depth++] = *Row;
            break;
        case 0x0B:
            if (Depth == 0) {
                return FALSE;
            }
            *Row = Saved[--Depth];
            break;
        case 0x0C: /* def_cfa */
        case 0x12: /* def_cfa_sf */
            Row->CfaRegister = (UCHAR)HalpUleb(&P);
            Row->CfaOffset = Op == 0x0C ? (LONG64)HalpUleb(&P) : HalpSleb(&P) * Data;
            Row->CfaExpression = NULL;
            break;
        case 0x0D:
            Row->CfaRegister = (UCHAR)HalpUleb(&P);
            Row->CfaExpression = NULL;
            break;
        case 0x0E:
            Row->CfaOffset = (LONG64)HalpUleb(&P);
            break;
        case 0x13:
            Row->CfaOffset = HalpSleb(&P) * Data;
            break;
        case 0x0F: /* def_cfa_expression */
            Row->CfaExpression = P;
            Register = HalpUleb(&P);
            P += Register;
            break;
        case 0x10: /* expression */
        case 0x16: /* val_expression */
            Register = HalpUleb(&P);
            HalpSetRule(Row, Register, Op == 0x10 ? RuleExpression : RuleValueExpression, (LONG64)(ULONG_PTR)P);
            Register = HalpUleb(&P);
            P += Register;
            break;
        case 0x11: /* offset_extended_sf */
            Register = HalpUleb(&P);
            HalpSetRule(Row, Register, RuleOffset, HalpSleb(&P) * Data);
            break;
        case 0x14: /* val_offset */
            Register = HalpUleb(&P);
            HalpSetRule(Row, Register, RuleValueOffset, (LONG64)HalpUleb(&P) * Data);
            break;
        case 0x15: /* val_offset_sf */
            Register = HalpUleb(&P);
            HalpSetRule(Row, Register, RuleValueOffset, HalpSleb(&P) * Data);
            break;
        case 0x2E: /* GNU_args_size */
            HalpUleb(&P);
            break;
        default:
            return FALSE;
        }
    }
    return TRUE;
}

/* A DWARF expression: what trap entries, PLTs and realigned stacks use. */
static BOOLEAN HalpEvaluate(CFI_READER *Reader, const UCHAR *P, BOOLEAN HasCfa, ULONG64 Cfa, ULONG64 *Result)
{
    ULONG64 Stack[16], Bytes = HalpUleb(&P);
    const UCHAR *End = P + Bytes;
    ULONG N = 0;
    if (HasCfa) {
        Stack[N++] = Cfa;
    }
    while (P < End) {
        UCHAR Op = *P++;
        if (N == ARRAYSIZE(Stack)) {
            return FALSE;
        }
        if (Op >= 0x30 && Op <= 0x4F) { /* lit */
            Stack[N++] = Op - 0x30u;
        } else if (Op >= 0x70 && Op <= 0x8F) { /* breg */
            if (Op - 0x70u >= REGISTERS) {
                return FALSE;
            }
            Stack[N++] = Reader->Register[Op - 0x70] + (ULONG64)HalpSleb(&P);
        } else if (Op == 0x08 || Op == 0x0A || Op == 0x0C || Op == 0x0E) { /* const1u.. */
            Stack[N++] = HalpFixed(&P, 1u << ((Op - 0x08) / 2));
        } else if (Op == 0x09) {
            Stack[N++] = (ULONG64)(LONG64)(CCHAR)HalpFixed(&P, 1);
        } else if (Op == 0x0B) {
            Stack[N++] = (ULONG64)(LONG64)(SHORT)HalpFixed(&P, 2);
        } else if (Op == 0x0D) {
            Stack[N++] = (ULONG64)(LONG64)(LONG)HalpFixed(&P, 4);
        } else if (Op == 0x10) {
            Stack[N++] = HalpUleb(&P);
        } else if (Op == 0x11) {
            Stack[N++] = (ULONG64)HalpSleb(&P);
        } else if (N == 0) {
            return FALSE;
        } else if (Op == 0x06) { /* deref */
            if (!HalpReadWord(Reader, Stack[N - 1], &Stack[N - 1])) {
                return FALSE;
            }
        } else if (Op == 0x12) { /* dup */
            Stack[N] = Stack[N - 1];
            N++;
        } else if (Op == 0x13) { /* drop */
            N--;
        } else if (Op == 0x23) { /* plus_uconst */
            Stack[N - 1] += HalpUleb(&P);
        } else if (N < 2) {
            return FALSE;
        } else {
            ULONG64 B = Stack[--N], *A = &Stack[N - 1];
            switch (Op) {
            case 0x1A:
                *A &= B;
                break;
            case 0x1C:
                *A -= B;
                break;
            case 0x21:
                *A |= B;
                break;
            case 0x22:
                *A += B;
                break;
            case 0x24:
                *A = B < 64 ? *A << B : 0;
                break;
            case 0x25:
                *A = B < 64 ? *A >> B : 0;
                break;
            case 0x29:
                *A = *A == B;
                break;
            case 0x2A:
                *A = (LONG64)*A >= (LONG64)B;
                break;
            case 0x2B:
                *A = (LONG64)*A > (LONG64)B;
                break;
            case 0x2C:
                *A = (LONG64)*A <= (LONG64)B;
                break;
            case 0x2D:
                *A = (LONG64)*A < (LONG64)B;
                break;
            default:
                return FALSE;
            }
        }
    }
    if (N == 0) {
        return FALSE;
    }
    *Result = Stack[N - 1];
    return TRUE;
}

BOOLEAN HalpStepFrame(HAL_CONTEXT *Context, ULONG_PTR Pc)
{
    CFI_RECORD Record;
    CFI_ROW Row = {.CfaRegister = REG_RSP}, Initial;
    CFI_READER Reader = {.GoodPage = ~0ull};
    ULONG64 *R = Reader.Register, New[REGISTERS], Cfa;
    if (!HalpFindRecord(Pc, &Record) || Record.ReturnRegister != REG_RETURN) {
        return FALSE;
    }
    R[3] = Context->Rbx;
    R[4] = Context->Rsi;
    R[5] = Context->Rdi;
    R[6] = Context->Rbp;
    R[7] = Context->Rsp;
    R[12] = Context->R12;
    R[13] = Context->R13;
    R[14] = Context->R14;
    R[15] = Context->R15;
    R[16] = Context->Rip;
    HalpKnownStack(Context->Rsp, &Reader.StackLow, &Reader.StackHigh);
    ULONG_PTR At = Record.Begin;
    if (!HalpRunProgram(&Record, Record.First, Record.FirstEnd, &At, ~0ull, &Row, NULL)) {
        return FALSE;
    }
    Initial = Row;
    At = Record.Begin;
    if (!HalpRunProgram(&Record, Record.Then, Record.ThenEnd, &At, Pc, &Row, &Initial)) {
        return FALSE;
    }
    if (Row.CfaExpression) {
        if (!HalpEvaluate(&Reader, Row.CfaExpression, FALSE, 0, &Cfa)) {
            return FALSE;
        }
    } else if (Row.CfaRegister < REGISTERS) {
        Cfa = R[Row.CfaRegister] + (ULONG64)Row.CfaOffset;
    } else {
        return FALSE;
    }
    for (ULONG i = 0; i < REGISTERS; i++) {
        BOOLEAN Good = TRUE;
        ULONG64 Where;
        New[i] = i == REG_RSP ? Cfa : R[i];
        switch (Row.Rule[i]) {
        case RuleUndefined:
            Good = i != REG_RETURN; /* the outermost frame */
            break;
        case RuleOffset:
            Good = HalpReadWord(&Reader, Cfa + (ULONG64)Row.Value[i], &New[i]);
            break;
        case RuleValueOffset:
            New[i] = Cfa + (ULONG64)Row.Value[i];
            break;
        case RuleRegister:
            Good = (ULONG64)Row.Value[i] < REGISTERS;
            New[i] = Good ? R[Row.Value[i]] : 0;
            break;
        case RuleExpression:
            Good = HalpEvaluate(&Reader, (const UCHAR *)(ULONG_PTR)Row.Value[i], TRUE, Cfa, &Where) &&
                   HalpReadWord(&Reader, Where, &New[i]);
            break;
        case RuleValueExpression:
            Good = HalpEvaluate(&Reader, (const UCHAR *)(ULONG_PTR)Row.Value[i], TRUE, Cfa, &New[i]);
            break;
        default:
            break;
        }
        if (!Good) {
            return FALSE;
        }
    }
    if (Row.Rule[REG_RETURN] == RuleSame || New[16] == 0) {
        return FALSE; /* no record of how it was called */
    }
    *Context = (HAL_CONTEXT){.Rip = New[16],
                             .Rsp = New[7],
                             .Rbp = New[6],
                             .Rbx = New[3],
                             .R12 = New[12],
                             .R13 = New[13],
                             .R14 = New[14],
                             .R15 = New[15],
                             .Rdi = New[5],
                             .Rsi = New[4]};
    return TRUE;
}
