/*
 * border_test.c - the border's table: complete, unique, and really ms_abi. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "ldr/ldr.h"
#include "ntmm.h"

static int Start(void **State)
{
    (void)State;
    return ntmm_start(NULL);
}

static int Stop(void **State)
{
    (void)State;
    return ntmm_stop();
}

static int ByName(const void *One, const void *Two)
{
    return strcmp((*(const LDR_ENTRY *const *)One)->Name, (*(const LDR_ENTRY *const *)Two)->Name);
}

static void Entries_AreUniqueAndFound(void **State)
{
    const LDR_ENTRY **Sorted = calloc(LdrEntryCount, sizeof(*Sorted));
    (void)State;
    assert_true(LdrEntryCount > 200);
    for (ULONG Index = 0; Index < LdrEntryCount; Index++) {
        Sorted[Index] = &LdrEntries[Index];
        assert_ptr_equal(LdrFindEntry(LdrEntries[Index].Name), &LdrEntries[Index]);
    }
    qsort(Sorted, LdrEntryCount, sizeof(*Sorted), ByName);
    for (ULONG Index = 1; Index < LdrEntryCount; Index++) {
        if (strcmp(Sorted[Index - 1]->Name, Sorted[Index]->Name) == 0) {
            fail_msg("%s is there twice", Sorted[Index]->Name);
        }
    }
    free(Sorted);
    assert_null(LdrFindEntry("ExNoSuchRoutine"));
    assert_null(LdrFindEntry(""));
}

static void Functions_LieInTheBorder_VariablesDoNot(void **State)
{
    (void)State;
    assert_true(KiBorderStart < KiBorderEnd);
    for (ULONG Index = 0; Index < LdrEntryCount; Index++) {
        const LDR_ENTRY *Entry = &LdrEntries[Index];
        BOOLEAN Inside = (ULONG_PTR)Entry->Border - KiBorderStart < KiBorderEnd - KiBorderStart;
        if (Inside != (Entry->Kind == LdrRoutine)) {
            fail_msg("%s is %s the border", Entry->Name, Inside ? "inside" : "outside");
        }
        assert_non_null(Entry->Native);
        assert_false((ULONG_PTR)Entry->Native - KiBorderStart < KiBorderEnd - KiBorderStart);
        assert_int_equal(KiIsForeignCode(Entry->Border), Inside);
    }
}

static void Call_ByTheMicrosoftConvention_PassesTypedArguments(void **State)
{
    NTSTATUS(KI_MSABI * Initialize)
    (PUNICODE_STRING, PCWSTR) = (PVOID)LdrFindEntry("RtlInitUnicodeString")->Border;
    KIRQL(KI_MSABI * Raise)(VOID) = (PVOID)LdrFindEntry("KeRaiseIrqlToDpcLevel")->Border;
    VOID(KI_MSABI * Lower)(ULONG64) = (PVOID)LdrFindEntry("KeLowerIrql")->Border;
    PVOID(KI_MSABI * Allocate)(ULONG64, ULONG64, ULONG64) = (PVOID)LdrFindEntry("ExAllocatePool2")->Border;
    VOID(KI_MSABI * Free)(PVOID, ULONG64) = (PVOID)LdrFindEntry("ExFreePoolWithTag")->Border;
    UNICODE_STRING Text;
    (void)State;
    Initialize(&Text, L"four");
    assert_int_equal(Text.Length, 8);
    assert_int_equal(Raise(), PASSIVE_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    Lower(0xABCDEF00ull | PASSIVE_LEVEL); /* KIRQL is a byte: the rest of the register is anything */
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    PVOID Block = Allocate(POOL_FLAG_NON_PAGED, 100, 0xFFFFFFFF00000000ull | 'tseT');
    assert_non_null(Block);
    Free(Block, 'tseT');
}

static void SystemRoutineAddress_ByName_OrNull(void **State)
{
    UNICODE_STRING Known = RTL_CONSTANT_STRING(L"ExAllocatePool2"), Unknown = RTL_CONSTANT_STRING(L"ExAllocatePool99");
    UNICODE_STRING Strange = RTL_CONSTANT_STRING(L"Ex\x20ac"), Empty = {0, 0, NULL};
    PVOID(KI_MSABI * Foreign)(PUNICODE_STRING) = (PVOID)LdrFindEntry("MmGetSystemRoutineAddress")->Border;
    (void)State;
    assert_ptr_equal(MmGetSystemRoutineAddress(&Known), (PVOID)ExAllocatePool2);
    assert_ptr_equal(Foreign(&Known), LdrFindEntry("ExAllocatePool2")->Border);
    assert_null(MmGetSystemRoutineAddress(&Unknown));
    assert_null(MmGetSystemRoutineAddress(&Strange));
    assert_null(MmGetSystemRoutineAddress(&Empty));
    assert_null(Foreign(&Unknown));
}

static void Lookaside_MadeByForeignCode_CarriesBorderEntries(void **State)
{
    VOID(KI_MSABI * Make)
    (PNPAGED_LOOKASIDE_LIST, PVOID, PVOID, ULONG, SIZE_T, ULONG, USHORT) =
        (PVOID)LdrFindEntry("ExInitializeNPagedLookasideList")->Border;
    NPAGED_LOOKASIDE_LIST *List = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*List), 'kooL');
    (void)State;
    Make(List, NULL, NULL, 0, 64, 'kooL', 0);
    assert_true(KiIsForeignCode((PVOID)List->L.Allocate));
    assert_true(KiIsForeignCode((PVOID)List->L.Free));
    PVOID(KI_MSABI * Allocate)(POOL_TYPE, SIZE_T, ULONG) = (PVOID)List->L.Allocate;
    VOID(KI_MSABI * Free)(PVOID) = (PVOID)List->L.Free;
    PVOID Block = Allocate(NonPagedPool, 64, 'kooL'); /* as the header's inline code in the driver does */
    assert_non_null(Block);
    Free(Block);
    Block = ExAllocateFromNPagedLookasideList(List); /* and as native code does */
    assert_non_null(Block);
    ExFreeToNPagedLookasideList(List, Block);
    ExDeleteNPagedLookasideList(List);
    ExFreePool(List);
}

/* The shared library's dynamic symbols are the declarations that include/nt marks as exported; each is one that a driver
 * may import, but for the host's API and the support code of our headers. */
static void Exports_OfTheLibrary_AreInTheTable(void **State)
{
    if (access(NTMM_SHARED, R_OK) != 0) {
        skip(); /* sanitized builds have no shared library */
    }
    FILE *Symbols = popen("nm -D --defined-only " NTMM_SHARED, "r");
    char Line[512], Name[256];
    unsigned Seen = 0, Gaps = 0;
    (void)State;
    assert_non_null(Symbols);
    while (fgets(Line, sizeof(Line), Symbols) != NULL) {
        if (sscanf(Line, "%*s %*s %255s", Name) != 1 || strncmp(Name, "ntmm_", 5) == 0 || strncmp(Name, "Ntmm", 4) == 0 ||
            strncmp(Name, "RtlpCrt_", 8) == 0) {
            continue;
        }
        Seen++;
        if (LdrFindEntry(Name) == NULL) {
            print_message("not in src/ldr/exports: %s\n", Name);
            Gaps++;
        }
    }
    assert_int_equal(pclose(Symbols), 0);
    assert_true(Seen > 200);
    assert_int_equal(Gaps, 0);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Entries_AreUniqueAndFound),
        cmocka_unit_test(Functions_LieInTheBorder_VariablesDoNot),
        cmocka_unit_test(Call_ByTheMicrosoftConvention_PassesTypedArguments),
        cmocka_unit_test(SystemRoutineAddress_ByName_OrNull),
        cmocka_unit_test(Lookaside_MadeByForeignCode_CarriesBorderEntries),
        cmocka_unit_test(Exports_OfTheLibrary_AreInTheTable),
    };
    return cmocka_run_group_tests(Tests, Start, Stop);
}
