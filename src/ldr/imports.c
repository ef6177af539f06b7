/*
 * imports.c - fills an image's import address table. SPDX-License-Identifier: MIT
 *
 * Where an import is looked for: the kernel's and the HAL's in the border's table (border.c); any other module's in the
 * loaded image of that name, or among the routines that the host has supplied for it. What nobody has becomes a stub, so that a driver loads with what it can use and stops, by
 * name, only when it calls what is missing:
 *
 *   Stubs:  +0   48 b9 imm64   mov rcx, &MissingRecords[i]      (the call never returns: its arguments may go)
 *           +10  48 b8 imm64   mov rax, LdrpCallMissing
 *           +20  ff e0         jmp rax
 *           +22  cc ...        to 32 bytes
 *
 * A missing variable gets a stub too (an import does not say what it is): reading it yields the stub's bytes.
 *
 * The stop is bug check 0xC0000263, STATUS_DRIVER_ENTRYPOINT_NOT_FOUND, the status with which Windows refuses such a
 * driver: parameter 1 the address of the text "module!name", 2 the return address in the driver, 3 the image's base, 4
 * zero. Windows has no such stop, because there the driver never runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "ldr/ldrp.h"
#include "mm/mm.h"

#define LDRP_STUB_SIZE 32u

typedef struct _LDRP_BIND {
    LDR_IMAGE *Image;
    UCHAR *Copy;
    ULONG *MissingSlots; /* RVAs of the slots that wait for a stub */
} LDRP_BIND;

BOOLEAN LdrIsKernelModule(const CHAR *Module)
{
    static const CHAR *const Names[] = {"ntoskrnl.exe", "hal.dll", "ntkrnlmp.exe", "ntkrnlpa.exe", "ntkrpamp.exe", "pshed.dll"};
    for (ULONG Index = 0; Index < ARRAYSIZE(Names); Index++) {
        if (strcasecmp(Module, Names[Index]) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static VOID LdrpUse(LDR_IMAGE *Image, LDR_IMAGE *Other)
{
    for (ULONG Index = 0; Index < Image->UseCount; Index++) {
        if (Image->Uses[Index] == Other) {
            return;
        }
    }
    if (Image->UseCount < ARRAYSIZE(Image->Uses)) {
        Image->Uses[Image->UseCount++] = Other;
        Other->ReferenceCount++;
    }
}

typedef struct _LDRP_ORDINAL {
    ULONG Ordinal, Rva;
} LDRP_ORDINAL;

static BOOLEAN LdrpMatchOrdinal(const LDR_EXPORT *Export, PVOID Context)
{
    LDRP_ORDINAL *Search = Context;
    if (Export->Ordinal != Search->Ordinal) {
        return TRUE;
    }
    Search->Rva = Export->Rva;
    return FALSE;
}

/* Modules whose routines the host supplies, for images loaded from then on. Guarded by the loader's lock on reading;
 * set while nothing is being loaded. */
static struct {
    const CHAR *Module;
    const LDR_ENTRY *Entries;
    ULONG Count;
} LdrpSupplied[8];

BOOLEAN LdrSupplyModule(const CHAR *Module, const LDR_ENTRY *Entries, ULONG Count)
{
    for (ULONG Index = 0; Index < ARRAYSIZE(LdrpSupplied); Index++) {
        if (LdrpSupplied[Index].Module == NULL || strcasecmp(LdrpSupplied[Index].Module, Module) == 0) {
            LdrpSupplied[Index].Module = Module;
            LdrpSupplied[Index].Entries = Entries;
            LdrpSupplied[Index].Count = Count;
            return TRUE;
        }
    }
    return FALSE;
}

static PVOID LdrpFindSupplied(const LDR_IMPORT *Import)
{
    for (ULONG Index = 0; Index < ARRAYSIZE(LdrpSupplied) && LdrpSupplied[Index].Module != NULL; Index++) {
        if (Import->Name == NULL || strcasecmp(LdrpSupplied[Index].Module, Import->Module) != 0) {
            continue;
        }
        for (ULONG Entry = 0; Entry < LdrpSupplied[Index].Count; Entry++) {
            if (strcmp(LdrpSupplied[Index].Entries[Entry].Name, Import->Name) == 0) {
                return LdrpSupplied[Index].Entries[Entry].Border;
            }
        }
    }
    return NULL;
}

static PVOID LdrpResolve(LDR_IMAGE *Image, const LDR_IMPORT *Import)
{
    if (LdrIsKernelModule(Import->Module)) {
        const LDR_ENTRY *Entry = Import->Name != NULL ? LdrFindEntry(Import->Name) : NULL;
        return LdrEntryAddress(Entry, TRUE);
    }
    LDR_IMAGE *Other = LdrpFindImageByName(Import->Module);
    PVOID Address = NULL;
    if (Other == NULL) {
        return LdrpFindSupplied(Import);
    }
    if (Import->Name != NULL) {
        Address = LdrFindExport(Other, Import->Name);
    } else {
        LDRP_ORDINAL Search = {Import->Ordinal, 0};
        if (!LdrPeEnumerateExports(&Other->Pe, LdrpMatchOrdinal, &Search) && Search.Rva != 0) {
            Address = Other->Base + Search.Rva;
        }
    }
    if (Address != NULL) {
        LdrpUse(Image, Other);
    }
    return Address;
}

static BOOLEAN LdrpBindOne(const LDR_IMPORT *Import, PVOID Context)
{
    LDRP_BIND *Bind = Context;
    LDR_IMAGE *Image = Bind->Image;
    PVOID Address = LdrpResolve(Image, Import);
    if (Address != NULL) {
        memcpy(Bind->Copy + Import->SlotRva, &Address, sizeof(Address));
        Image->ImportsBound++;
        return TRUE;
    }
    CHAR Text[700];
    if (Import->Name != NULL) {
        snprintf(Text, sizeof(Text), "%.128s!%s", Import->Module, Import->Name);
    } else {
        snprintf(Text, sizeof(Text), "%.128s!#%u", Import->Module, Import->Ordinal);
    }
    LDRP_MISSING *Missing = &Image->MissingRecords[Image->ImportsMissing];
    Missing->Image = Image;
    Missing->Text = strdup(Text);
    if (Missing->Text == NULL) {
        return FALSE;
    }
    Image->Missing[Image->ImportsMissing] = Missing->Text;
    Bind->MissingSlots[Image->ImportsMissing++] = Import->SlotRva;
    return TRUE;
}

static NTSTATUS LdrpMakeStubs(LDRP_BIND *Bind)
{
    LDR_IMAGE *Image = Bind->Image;
    SIZE_T Bytes = (SIZE_T)Image->ImportsMissing * LDRP_STUB_SIZE;
    UCHAR *Code = malloc(Bytes);
    if (Code == NULL) {
        return STATUS_NO_MEMORY;
    }
    Image->StubPages = LDRP_PAGES(Bytes);
    Image->Stubs = MmAllocatePages(MmRegionDriverImages, Image->StubPages, MM_PAGES_EXECUTE | MM_PAGES_ZERO, HighPoolPriority);
    if (Image->Stubs == NULL) {
        Image->StubPages = 0;
        free(Code);
        return STATUS_NO_MEMORY;
    }
    memset(Code, 0xcc, Bytes);
    for (ULONG Index = 0; Index < Image->ImportsMissing; Index++) {
        UCHAR *Stub = Code + Index * LDRP_STUB_SIZE;
        ULONGLONG Record = (ULONG_PTR)&Image->MissingRecords[Index], Target = (ULONG_PTR)LdrpCallMissing;
        ULONGLONG Address = (ULONG_PTR)Image->Stubs + Index * LDRP_STUB_SIZE;
        memcpy(Stub, "\x48\xb9", 2);
        memcpy(Stub + 2, &Record, 8);
        memcpy(Stub + 10, "\x48\xb8", 2);
        memcpy(Stub + 12, &Target, 8);
        memcpy(Stub + 20, "\xff\xe0", 2);
        memcpy(Bind->Copy + Bind->MissingSlots[Index], &Address, 8);
    }
    NTSTATUS Status = MmCopyToManaged(Image->Stubs, Code, Bytes);
    free(Code);
    return NT_SUCCESS(Status) ? MmProtectPages(Image->Stubs, Image->StubPages, PAGE_EXECUTE_READ) : Status;
}

NTSTATUS LdrpBindImports(LDR_IMAGE *Image, UCHAR *Copy, CHAR *Error, SIZE_T ErrorSize)
{
    ULONG Count = Image->Pe.ImportCount;
    if (Count == 0) {
        return STATUS_SUCCESS;
    }
    LDRP_BIND Bind = {Image, Copy, calloc(Count, sizeof(ULONG))};
    Image->MissingRecords = calloc(Count, sizeof(LDRP_MISSING));
    Image->Missing = calloc(Count, sizeof(CHAR *));
    NTSTATUS Status = STATUS_NO_MEMORY;
    if (Bind.MissingSlots != NULL && Image->MissingRecords != NULL && Image->Missing != NULL &&
        LdrPeEnumerateImports(&Image->Pe, LdrpBindOne, &Bind)) {
        Status = Image->ImportsMissing != 0 ? LdrpMakeStubs(&Bind) : STATUS_SUCCESS;
    }
    free(Bind.MissingSlots);
    if (!NT_SUCCESS(Status)) {
        LdrpSay(Error, ErrorSize, "no memory to bind %u imports", Count);
    }
    return Status;
}

typedef struct _LDRP_CHECK {
    LDR_IMAGE *Image;
    ULONG Wrong;
} LDRP_CHECK;

static BOOLEAN LdrpCheckOne(const LDR_IMPORT *Import, PVOID Context)
{
    LDRP_CHECK *Check = Context;
    LDR_IMAGE *Image = Check->Image;
    ULONG_PTR Value;
    if (NT_SUCCESS(MmCopyFromManaged(&Value, Image->Base + Import->SlotRva, sizeof(Value))) &&
        Value != (ULONG_PTR)LdrpResolve(Image, Import) &&
        Value - (ULONG_PTR)Image->Stubs >= Image->StubPages * LDRP_PAGE_SIZE) {
        Check->Wrong++;
    }
    return TRUE;
}

BOOLEAN LdrpCheckImports(LDR_IMAGE *Image)
{
    LDRP_CHECK Check = {Image, 0};
    LdrPeEnumerateImports(&Image->Pe, LdrpCheckOne, &Check);
    return Check.Wrong == 0;
}

VOID LdrpFreeImports(LDR_IMAGE *Image)
{
    for (ULONG Index = 0; Index < Image->UseCount; Index++) {
        Image->Uses[Index]->ReferenceCount--;
    }
    Image->UseCount = 0;
    if (Image->Stubs != NULL) {
        MmFreePages(Image->Stubs, Image->StubPages);
    }
    for (ULONG Index = 0; Index < Image->ImportsMissing; Index++) {
        free((VOID *)Image->MissingRecords[Index].Text);
    }
    free(Image->MissingRecords);
    free(Image->Missing);
}

VOID KI_MSABI LdrpCallMissing(const LDRP_MISSING *Missing)
{
    static _Thread_local CHAR Words[900]; /* whoever catches the stop reads them after this frame is gone */
    KI_BUGCHECK Stop = {.Code = (ULONG)STATUS_DRIVER_ENTRYPOINT_NOT_FOUND};
    snprintf(Words, sizeof(Words), "%s called %s, which ntmm does not have; `ntmm imports` lists what is missing.",
             Missing->Image->Name, Missing->Text);
    Stop.Parameters[0] = (ULONG_PTR)Missing->Text;
    Stop.Parameters[1] = (ULONG_PTR)__builtin_return_address(0);
    Stop.Parameters[2] = (ULONG_PTR)Missing->Image->Base;
    Stop.Words = Words;
    Stop.Driver = KiCallBefore((ULONG_PTR)__builtin_return_address(0));
    KiBugCheck(&Stop);
}
