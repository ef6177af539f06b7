/*
 * usermode_accessors.c - what the pages of the user-mode accessors say, a test a sentence. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <ntifs.h>
#include <usermode_accessors.h>
#include <ntmm.h>

typedef struct _TRIPLE {
    ULONG One, Two, Three;
} TRIPLE;

/* Two pages that can be written, one that can only be read, one that is not there. */
static PUCHAR User;
static PUCHAR Kernel;

/* A body that raises Status, and nothing else. */
#define RAISES(Body, Status)                                                                                                   \
    do {                                                                                                                       \
        static volatile NTSTATUS Code_;                                                                                        \
        Code_ = STATUS_SUCCESS;                                                                                                \
        __try {                                                                                                                \
            Body;                                                                                                              \
        } __except (EXCEPTION_EXECUTE_HANDLER) {                                                                               \
            Code_ = GetExceptionCode();                                                                                        \
        }                                                                                                                      \
        assert_int_equal(Code_, Status);                                                                                       \
    } while (0)

/* "safely reads a ... value from user-mode memory"; "This function doesn't enforce alignment." */
#define VALUE(Name, Type, Number)                                                                                              \
    do {                                                                                                                       \
        volatile Type *At_ = (volatile Type *)(PVOID)(User + 3);                                                               \
        Write##Name##ToUser(At_, (Type)(Number));                                                                              \
        assert_true(Read##Name##FromUser(At_) == (Type)(Number));                                                              \
        Write##Name##ToUserRelease(At_, (Type)(ULONG_PTR)1);                                                                   \
        assert_true(Read##Name##FromUserAcquire(At_) == (Type)(ULONG_PTR)1);                                                   \
        Write##Name##ToMode(At_, (Type)(Number), UserMode);                                                                    \
        assert_true(Read##Name##FromMode(At_, UserMode) == (Type)(Number));                                                    \
        Write##Name##ToMode((volatile Type *)(PVOID)(Kernel + 5), (Type)(Number), KernelMode);                                 \
        assert_true(Read##Name##FromMode((volatile Type *)(PVOID)(Kernel + 5), KernelMode) == (Type)(Number));                 \
        RAISES((void)Read##Name##FromUser((volatile Type *)(PVOID)Kernel), STATUS_ACCESS_VIOLATION);                           \
        RAISES(Write##Name##ToMode((volatile Type *)(PVOID)Kernel, (Type)(Number), UserMode), STATUS_ACCESS_VIOLATION);        \
    } while (0)

static void Values_EveryType(void **State)
{
    (void)State;
    VALUE(Boolean, BOOLEAN, TRUE);
    VALUE(Char, CHAR, -7);
    VALUE(Handle, HANDLE, (ULONG_PTR)0x123456789A);
    VALUE(Int8, INT8, -8);
    VALUE(Int16, INT16, -16000);
    VALUE(Int32, INT32, -320000);
    VALUE(Int64, INT64, -64000000000);
    VALUE(IntPtr, INT_PTR, -64000000001);
    VALUE(Long, LONG, -5);
    VALUE(Long64, LONG64, -6);
    VALUE(Longlong, LONGLONG, -7);
    VALUE(LongPtr, LONG_PTR, -8);
    VALUE(NtStatus, NTSTATUS, STATUS_NO_MEMORY);
    VALUE(Pointer, PVOID, (ULONG_PTR)User);
    VALUE(Short, SHORT, -9);
    VALUE(SizeT, SIZE_T, 1ull << 40);
    VALUE(SSizeT, SSIZE_T, -(1ll << 40));
    VALUE(UChar, UCHAR, 200);
    VALUE(UInt8, UINT8, 201);
    VALUE(UInt16, UINT16, 60000);
    VALUE(UInt32, UINT32, 0xF0000001);
    VALUE(UInt64, UINT64, ~0ull);
    VALUE(UIntPtr, UINT_PTR, ~1ull);
    VALUE(ULong, ULONG, 0xF0000002);
    VALUE(ULong64, ULONG64, ~2ull);
    VALUE(ULonglong, ULONGLONG, ~3ull);
    VALUE(ULongPtr, ULONG_PTR, ~4ull);
    VALUE(UShort, USHORT, 60001);
    VALUE(WChar, WCHAR, 0xFFFE);
}

/* "raises a structured exception if the memory access fails, such as when the source address isn't a user-mode address, is inaccessible". */
static void Values_Inaccessible_Raise(void **State)
{
    (void)State;
    RAISES((void)ReadULongFromUser((PULONG)(PVOID)(User + 3 * PAGE_SIZE)), STATUS_ACCESS_VIOLATION);
    RAISES((void)ReadULongFromUser((PULONG)(PVOID)(User + 3 * PAGE_SIZE - 2)), STATUS_ACCESS_VIOLATION);
    RAISES((void)ReadULongFromUser((PULONG)(PVOID)(User + 2 * PAGE_SIZE)), STATUS_SUCCESS);
    RAISES(WriteULongToUser((PULONG)(PVOID)(User + 2 * PAGE_SIZE), 1), STATUS_ACCESS_VIOLATION);
    RAISES((void)ReadULongFromUser((PULONG)NULL), STATUS_ACCESS_VIOLATION);
    RAISES((void)ReadULong64FromUser((PULONG64) ~(ULONG_PTR)3), STATUS_ACCESS_VIOLATION);
}

/* "safely copies data"; "raises a structured exception if the copy operation fails"; "not properly aligned according to the Alignment". */
static void Copies_EachDirection(void **State)
{
    UCHAR Back[300];
    volatile SIZE_T All = ~(SIZE_T)0;
    unsigned Index;
    (void)State;
    for (Index = 0; Index < 300; Index++)
        Kernel[Index] = (UCHAR)(Index * 7);
    CopyToUser(User + 1, Kernel, 300);
    CopyFromUser(Back, User + 1, 300);
    assert_memory_equal(Back, Kernel, 300);
    CopyToUserFromUser(User + 1001, User + 1, 300);
    CopyFromUserToMode(Kernel + 1000, User + 1001, 300, KernelMode);
    assert_memory_equal(Kernel + 1000, Kernel, 300);
    CopyFromUserToMode(User + 2000, User + 1001, 300, UserMode);
    CopyFromMode(Back, User + 2000, 300, UserMode);
    assert_memory_equal(Back, Kernel, 300);
    CopyToMode(Kernel + 2000, Kernel, 300, KernelMode);
    CopyFromMode(Back, Kernel + 2000, 300, KernelMode);
    assert_memory_equal(Back, Kernel, 300);
    CopyToUserNonTemporal(User + 64, Kernel, 17);
    CopyFromUserNonTemporal(Back, User + 64, 17);
    CopyToModeNonTemporal(User + 164, Kernel, 17, UserMode);
    CopyFromModeNonTemporal(Back + 20, User + 164, 17, UserMode);
    assert_memory_equal(Back, Kernel, 17);
    assert_memory_equal(Back + 20, Kernel, 17);
    CopyToUser(User, Kernel, 300);
    MoveToUserFromUser(User + 5, User, 200); /* "allowing overlap", both ways */
    CopyFromUser(Back, User + 5, 200);
    assert_memory_equal(Back, Kernel, 200);
    MoveToUserFromUser(User, User + 5, 200);
    CopyFromUser(Back, User, 200);
    assert_memory_equal(Back, Kernel, 200);
    RAISES(CopyToUser(Kernel + 4000, Kernel, 8), STATUS_ACCESS_VIOLATION);
    RAISES(CopyFromUser(Back, Kernel, 8), STATUS_ACCESS_VIOLATION);
    RAISES(CopyToUserFromUser(Kernel, User, 8), STATUS_ACCESS_VIOLATION);
    RAISES(CopyToUserFromUser(User, Kernel, 8), STATUS_ACCESS_VIOLATION);
    RAISES(CopyFromUser(Back, User + 3 * PAGE_SIZE - 8, 16), STATUS_ACCESS_VIOLATION);
    RAISES(CopyToUser(User + 2 * PAGE_SIZE - 8, Kernel, 16), STATUS_ACCESS_VIOLATION);
    RAISES(CopyFromUser(Back, User, All), STATUS_ACCESS_VIOLATION);
    RAISES(CopyFromUser(Back, Kernel, 0), STATUS_SUCCESS);
    RAISES(CopyFromUserAligned(Back, User + 8, 8, 8), STATUS_SUCCESS);
    RAISES(CopyFromUserAligned(Back, User + 4, 8, 8), STATUS_DATATYPE_MISALIGNMENT);
    RAISES(CopyFromModeAligned(Back, User + 2, 8, UserMode, 4), STATUS_DATATYPE_MISALIGNMENT);
    RAISES(CopyFromModeAligned(Back, Kernel + 2, 8, KernelMode, 4), STATUS_SUCCESS);
}

/* "fills a user-mode memory region with a specified byte value"; "length of the string ..., not including the terminating null character". */
static void Fills_AndLengths(void **State)
{
    static const WCHAR Wide[] = L"four";
    UCHAR Back[64];
    (void)State;
    SetUserMemory(User, 0x11, 64);
    FillUserMemory(User + 8, 8, 0x22);
    SetModeMemory(User + 16, 0x33, 8, UserMode);
    FillModeMemory(User + 24, 8, 0x44, UserMode);
    ZeroUserMemory(User + 32, 8);
    ZeroModeMemory(User + 40, 8, UserMode);
    CopyFromUser(Back, User, 64);
    assert_int_equal(Back[7], 0x11);
    assert_int_equal(Back[8] + Back[15], 0x44);
    assert_int_equal(Back[16] + Back[23], 0x66);
    assert_int_equal(Back[24] + Back[31], 0x88);
    assert_int_equal(Back[32] + Back[39] + Back[40] + Back[47], 0);
    assert_int_equal(Back[48], 0x11);
    SetModeMemory(Kernel, 0x55, 8, KernelMode);
    FillModeMemory(Kernel + 8, 8, 0x66, KernelMode);
    ZeroModeMemory(Kernel + 4, 2, KernelMode);
    assert_int_equal(Kernel[3] + Kernel[4] + Kernel[8], 0xBB);
    RAISES(SetUserMemory(Kernel, 0, 8), STATUS_ACCESS_VIOLATION);
    RAISES(ZeroUserMemory(User + 2 * PAGE_SIZE, 1), STATUS_ACCESS_VIOLATION);
    assert_int_equal(StringLengthFromUser((PCHAR)User), 32);
    assert_int_equal(StringLengthFromMode((PCHAR)Kernel, KernelMode), 4);
    CopyToUser(User + PAGE_SIZE - 6, Wide, sizeof(Wide));
    assert_int_equal(WideStringLengthFromUser((PWCHAR)(PVOID)(User + PAGE_SIZE - 6)), 4);
    assert_int_equal(WideStringLengthFromMode(Wide, KernelMode), 4);
    SetUserMemory(User + PAGE_SIZE, 'x', PAGE_SIZE);
    RAISES((void)StringLengthFromUser((PCHAR)Kernel), STATUS_ACCESS_VIOLATION);
    RAISES((void)StringLengthFromUser((PCHAR)(User + 3 * PAGE_SIZE)), STATUS_ACCESS_VIOLATION);
}

/* "automatically determines the structure size for the copy operation"; "enforces alignment ... when accessing user-mode memory". */
static void Structures_WholeAndAligned(void **State)
{
    TRIPLE Value = {1, 2, 3}, Back = {0, 0, 0}, *Remote = (TRIPLE *)(PVOID)(User + 12), *Odd = (TRIPLE *)(PVOID)(User + 102);
    LARGE_INTEGER Large = {.QuadPart = -5};
    ULARGE_INTEGER Unsigned = {.QuadPart = 5};
    UNICODE_STRING String = {2, 4, NULL}, Read;
    (void)State;
    WriteStructToUser(Remote, &Value);
    ReadStructFromUser(&Back, Remote);
    assert_memory_equal(&Back, &Value, sizeof(Value));
    WriteStructToMode(Odd, &Value, UserMode);
    memset(&Back, 0, sizeof(Back));
    ReadStructFromMode(&Back, Odd, UserMode);
    assert_int_equal(Back.Three, 3);
    WriteStructToUserAligned(Remote, &Value, 4);
    ReadStructFromUserAligned(&Back, Remote, 4);
    WriteStructToModeAligned(Remote, &Value, UserMode, 4);
    ReadStructFromModeAligned(&Back, Remote, UserMode, 4);
    ReadStructFromModeAligned(&Back, &Value, KernelMode, 16);
    WriteStructToModeAligned(&Back, &Value, KernelMode, 16);
    ReadStructFromUserHelper(&Back, Remote, sizeof(Back));
    ReadStructFromModeHelper(&Back, Remote, sizeof(Back), UserMode);
    WriteStructToUserHelper(Remote, &Back, sizeof(Back));
    WriteStructToModeHelper(Remote, &Back, sizeof(Back), UserMode);
    RAISES(ReadStructFromUserAligned(&Back, Odd, 4), STATUS_DATATYPE_MISALIGNMENT);
    RAISES(WriteStructToModeAligned(Odd, &Back, UserMode, 4), STATUS_DATATYPE_MISALIGNMENT);
    RAISES(ReadStructFromUser(&Back, &Value), STATUS_ACCESS_VIOLATION);
    WriteLargeIntegerToUser((PLARGE_INTEGER)(PVOID)(User + 8), Large);
    assert_int_equal(ReadLargeIntegerFromUser((PLARGE_INTEGER)(PVOID)(User + 8)).QuadPart, -5);
    WriteLargeIntegerToMode((PLARGE_INTEGER)(PVOID)(User + 8), Large, UserMode);
    assert_int_equal(ReadLargeIntegerFromMode(&Large, KernelMode).QuadPart, -5);
    WriteULargeIntegerToUser((PULARGE_INTEGER)(PVOID)(User + 16), Unsigned);
    assert_int_equal(ReadULargeIntegerFromUser((PULARGE_INTEGER)(PVOID)(User + 16)).QuadPart, 5);
    WriteULargeIntegerToMode(&Unsigned, Unsigned, KernelMode);
    assert_int_equal(ReadULargeIntegerFromMode((PULARGE_INTEGER)(PVOID)(User + 16), UserMode).QuadPart, 5);
    WriteUnicodeStringToUser((PUNICODE_STRING)(PVOID)(User + 32), String);
    WriteUnicodeStringToMode((PUNICODE_STRING)(PVOID)(User + 32), String, UserMode);
    Read = ReadUnicodeStringFromUser((PUNICODE_STRING)(PVOID)(User + 32));
    assert_int_equal(Read.MaximumLength, 4);
    Read = ReadUnicodeStringFromMode((PUNICODE_STRING)(PVOID)(User + 32), UserMode);
    assert_int_equal(Read.Length, 2);
    RAISES((void)ReadUnicodeStringFromUser(&String), STATUS_ACCESS_VIOLATION);
}

/* "The function returns the original value of the Destination parameter"; "the memory location must be 4-byte aligned". */
static void Interlocked_OldValue(void **State)
{
    volatile LONG *Word = (volatile LONG *)(PVOID)(User + 16);
    volatile LONG64 *Large = (volatile LONG64 *)(PVOID)(User + 24);
    LONG Mine = 6;
    LONG64 Ours = 6;
    (void)State;
    WriteLongToUser(Word, 7);
    WriteLong64ToUser(Large, 7);
    assert_int_equal(InterlockedAndToUser(Word, 5), 7);
    assert_int_equal(InterlockedOrToUser(Word, 8), 5);
    assert_int_equal(InterlockedCompareExchangeToUser(Word, 1, 2), 13);
    assert_int_equal(InterlockedCompareExchangeToMode(Word, 1, 13, UserMode), 13);
    assert_int_equal(InterlockedOrToMode(Word, 2, UserMode), 1);
    assert_int_equal(InterlockedAndToMode(Word, 2, UserMode), 3);
    assert_int_equal(InterlockedAnd64ToUser(Large, 5), 7);
    assert_int_equal(InterlockedOr64ToUser(Large, 8), 5);
    assert_int_equal(InterlockedCompareExchange64ToUser(Large, 1, 2), 13);
    assert_int_equal(InterlockedCompareExchange64ToMode(Large, 1, 13, UserMode), 13);
    assert_int_equal(InterlockedOr64ToMode(Large, 2, UserMode), 1);
    assert_int_equal(InterlockedAnd64ToMode(Large, 2, UserMode), 3);
    assert_int_equal(InterlockedAndToMode(&Mine, 2, KernelMode), 6);
    assert_int_equal(InterlockedOr64ToMode(&Ours, 1, KernelMode), 6);
    assert_int_equal(Mine + (LONG)Ours, 9);
    RAISES((void)InterlockedAndToUser(&Mine, 0), STATUS_ACCESS_VIOLATION);
    RAISES((void)InterlockedAndToUser((volatile LONG *)(PVOID)(User + 17), 0), STATUS_DATATYPE_MISALIGNMENT);
    RAISES((void)InterlockedOr64ToUser((volatile LONG64 *)(PVOID)(User + 20), 0), STATUS_DATATYPE_MISALIGNMENT);
    RAISES((void)InterlockedOrToUser((volatile LONG *)(PVOID)(User + 3 * PAGE_SIZE), 0), STATUS_ACCESS_VIOLATION);
}

static int Start(void **State)
{
    ntmm_options Options;
    SIZE_T Size = 3 * PAGE_SIZE, ReadOnly = PAGE_SIZE;
    PVOID Base = NULL, Last;
    ULONG Old;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 32 << 20;
    if (ntmm_start(&Options) != 0 || ZwAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, MEM_COMMIT | MEM_RESERVE,
                                                             PAGE_READWRITE) != STATUS_SUCCESS)
        return -1;
    User = Base;
    Last = User + 2 * PAGE_SIZE;
    Kernel = ExAllocatePool2(POOL_FLAG_NON_PAGED, 2 * PAGE_SIZE, 'tseT');
    return Kernel == NULL ||
           ZwProtectVirtualMemory(NtCurrentProcess(), &Last, &ReadOnly, PAGE_READONLY, &Old) != STATUS_SUCCESS;
}

static int End(void **State)
{
    PVOID Base = User;
    SIZE_T Size = 0;
    (void)State;
    ExFreePool(Kernel);
    return ZwFreeVirtualMemory(NtCurrentProcess(), &Base, &Size, MEM_RELEASE) != STATUS_SUCCESS || ntmm_stop() != 0;
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Values_EveryType),           cmocka_unit_test(Values_Inaccessible_Raise),
        cmocka_unit_test(Copies_EachDirection),       cmocka_unit_test(Fills_AndLengths),
        cmocka_unit_test(Structures_WholeAndAligned), cmocka_unit_test(Interlocked_OldValue),
    };
    return cmocka_run_group_tests(Tests, Start, End);
}
