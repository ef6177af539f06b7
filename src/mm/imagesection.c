/*
 * imagesection.c - segments of PE images: which part of the file each page shows. SPDX-License-Identifier: MIT
 *
 * An image's pages are laid out by its headers: the headers themselves, then each section at its address, its bytes from the file and
 * zeroes behind them. The file is not trusted: every number is checked against the file's size and the image's before use, and a file that
 * contradicts itself is refused.
 *
 *      file:   | headers | raw .text | raw .data |          image:  | headers | .text | .data 0000 | .bss 000000 |
 *
 * A page of a section that may be written is copied on write, unless the section is shared. An image whose sections are aligned to less
 * than a page is shown as its file is, in one part that is copied on write. What a view at another address than the preferred one
 * needs changed is relocate.c's. Only x64 images. Loading drivers is another matter (src/ldr).
 *
 * What is no image says so as documented (ntstatus.h): no MZ STATUS_INVALID_IMAGE_NOT_MZ; behind it NE for Windows
 * STATUS_INVALID_IMAGE_WIN_16, other NE STATUS_INVALID_IMAGE_NE_FORMAT, LE or LX STATUS_INVALID_IMAGE_LE_FORMAT; nothing known and an
 * e_lfarlc of a plain DOS program STATUS_INVALID_IMAGE_PROTECT; all else STATUS_INVALID_IMAGE_FORMAT.
 * Watch: tests/ddi/section_image.c.
 */
#include "mm/segment.h"

#define MI_HEADER_BYTES 4096u
#define MI_MAX_PARTS    97u
#define PE_X64          0x8664
#define PE_STRIPPED     1u /* characteristics */
#define PE_RELOCATIONS  5u /* directory */
#define PE_SHARED       0x10000000u
#define PE_EXECUTE      0x20000000u
#define PE_READ         0x40000000u
#define PE_WRITE        0x80000000u

static inline USHORT MiWord(const UCHAR *At)
{
    return (USHORT)(At[0] | At[1] << 8);
}
static inline ULONG MiLong(const UCHAR *At)
{
    return (ULONG)MiWord(At) | (ULONG)MiWord(At + 2) << 16;
}
static inline ULONG64 MiQuad(const UCHAR *At)
{
    return MiLong(At) | (ULONG64)MiLong(At + 4) << 32;
}

static MI_PROT MiPartProtection(ULONG Characteristics)
{
    BOOLEAN Shared = (Characteristics & PE_SHARED) != 0;
    if (Characteristics & PE_WRITE) {
        return Characteristics & PE_EXECUTE ? (Shared ? MI_PROT_EXECUTE_READWRITE : MI_PROT_EXECUTE_WRITECOPY)
                                            : (Shared ? MI_PROT_READWRITE : MI_PROT_WRITECOPY);
    }
    if (Characteristics & PE_EXECUTE) {
        return Characteristics & PE_READ ? MI_PROT_EXECUTE_READ : MI_PROT_EXECUTE;
    }
    return Characteristics & PE_READ ? MI_PROT_READONLY : MI_PROT_NOACCESS;
}

/* What the headers say beside the facts. */
typedef struct _MI_HEADERS {
    ULONG Bytes;
    ULONG Relocations, RelocationBytes; /* the directory; 0: none */
    ULONG BaseField;                    /* where the preferred base stands */
    BOOLEAN Flat;                       /* sections are aligned to less than a page */
} MI_HEADERS;

/* The optional header's facts. Nt: Left bytes, 24 + 112 at least. */
static NTSTATUS MiReadFacts(const UCHAR *Nt, ULONG Left, MM_IMAGE_FACTS *Facts, MI_HEADERS *Headers)
{
    const UCHAR *Optional = Nt + 24;
    ULONG OptionalBytes = MiWord(Nt + 20);
    Facts->Machine = MiWord(Nt + 4);
    Facts->Characteristics = MiWord(Nt + 22);
    if (Facts->Machine != PE_X64 || MiWord(Optional) != 0x20B || OptionalBytes < 112 || !(Facts->Characteristics & 2)) {
        return STATUS_INVALID_IMAGE_FORMAT;
    }
    Facts->ContainsCode = MiLong(Optional + 4) != 0;
    Facts->EntryPoint = MiLong(Optional + 16);
    Facts->PreferredBase = MiQuad(Optional + 24);
    ULONG SectionAlignment = MiLong(Optional + 32), FileAlignment = MiLong(Optional + 36);
    Facts->OsMajor = MiWord(Optional + 40);
    Facts->OsMinor = MiWord(Optional + 42);
    Facts->SubsystemMajor = MiWord(Optional + 48);
    Facts->SubsystemMinor = MiWord(Optional + 50);
    Facts->SizeOfImage = MiLong(Optional + 56);
    Headers->Bytes = MiLong(Optional + 60);
    Facts->CheckSum = MiLong(Optional + 64);
    Facts->Subsystem = MiWord(Optional + 68);
    Facts->DllCharacteristics = MiWord(Optional + 70);
    Facts->StackReserve = MiQuad(Optional + 72);
    Facts->StackCommit = MiQuad(Optional + 80);
    Facts->LoaderFlags = MiLong(Optional + 104);
    Headers->Flat = SectionAlignment < PAGE_SIZE;
    /* "If the SectionAlignment is less than the architecture's page size, then FileAlignment must match SectionAlignment." */
    if (SectionAlignment == 0 || (SectionAlignment & (SectionAlignment - 1)) || FileAlignment == 0 ||
        (FileAlignment & (FileAlignment - 1)) || FileAlignment > SectionAlignment ||
        (Headers->Flat && FileAlignment != SectionAlignment) || Facts->SizeOfImage == 0 || Headers->Bytes == 0 ||
        Headers->Bytes > Facts->SizeOfImage || (Facts->PreferredBase & 0xFFFF) || Facts->EntryPoint >= Facts->SizeOfImage) {
        return STATUS_INVALID_IMAGE_FORMAT;
    }
    if (!(Facts->Characteristics & PE_STRIPPED) && MiLong(Optional + 108) > PE_RELOCATIONS &&
        OptionalBytes >= 112 + 8 * (PE_RELOCATIONS + 1) && Left >= 24 + 112 + 8 * (PE_RELOCATIONS + 1)) {
        Headers->Relocations = MiLong(Optional + 112 + 8 * PE_RELOCATIONS);
        Headers->RelocationBytes = MiLong(Optional + 116 + 8 * PE_RELOCATIONS);
    }
    return STATUS_SUCCESS;
}

/* All of the file as it is: each section lies where it does in the file. */
static NTSTATUS MiReadFlat(const UCHAR *Table, ULONG Count, ULONG64 FileBytes, PMI_SEGMENT Segment)
{
    ULONG64 Size = Segment->Image.SizeOfImage;
    for (ULONG Index = 0; Index < Count; Index++) {
        const UCHAR *One = Table + Index * 40;
        ULONG64 VirtualBytes = MiLong(One + 8), Va = MiLong(One + 12), RawBytes = MiLong(One + 16), Raw = MiLong(One + 20);
        if ((RawBytes && (Raw != Va || Raw + RawBytes > FileBytes)) || Va + VirtualBytes > Size) {
            return STATUS_INVALID_IMAGE_FORMAT;
        }
    }
    Segment->Parts[0] =
        (MI_PART){0, MI_BYTES_TO_PAGES(Size), 0, FileBytes < Size ? FileBytes : Size, MI_PROT_EXECUTE_WRITECOPY};
    Segment->PartCount = 1;
    return STATUS_SUCCESS;
}

static NTSTATUS MiReadParts(const UCHAR *Header, ULONG Have, ULONG NtOffset, ULONG64 FileBytes, const MI_HEADERS *Headers,
                            PMI_SEGMENT Segment)
{
    const UCHAR *Nt = Header + NtOffset;
    ULONG Count = MiWord(Nt + 6), Table = NtOffset + 24 + MiWord(Nt + 20);
    ULONG64 ImagePages = MI_BYTES_TO_PAGES((ULONG64)Segment->Image.SizeOfImage), Next;
    if (Count > MI_MAX_PARTS - 1 || Table > Have || Count * 40 > Have - Table || Headers->Bytes > FileBytes) {
        return STATUS_INVALID_IMAGE_FORMAT;
    }
    Segment->Parts = ExAllocatePool2(POOL_FLAG_NON_PAGED, (Count + 1) * sizeof(MI_PART), MI_TAG_SEGMENT);
    if (Segment->Parts == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (Headers->Flat) {
        return MiReadFlat(Header + Table, Count, FileBytes, Segment);
    }
    Segment->Parts[0] = (MI_PART){0, MI_BYTES_TO_PAGES(Headers->Bytes), 0, Headers->Bytes, MI_PROT_READONLY};
    Segment->PartCount = 1;
    Next = Segment->Parts[0].PageCount;
    for (ULONG Index = 0; Index < Count; Index++) {
        const UCHAR *One = Header + Table + Index * 40;
        ULONG VirtualBytes = MiLong(One + 8), Va = MiLong(One + 12), RawBytes = MiLong(One + 16), Raw = MiLong(One + 20);
        ULONG64 Bytes = VirtualBytes ? VirtualBytes : RawBytes;
        MI_PART Part = {Va >> PAGE_SHIFT, MI_BYTES_TO_PAGES(Bytes), Raw, RawBytes, MiPartProtection(MiLong(One + 36))};
        if ((Va & (PAGE_SIZE - 1)) || Part.FirstPage < Next || Part.PageCount > ImagePages ||
            Part.FirstPage > ImagePages - Part.PageCount || (RawBytes && (Raw > FileBytes || RawBytes > FileBytes - Raw))) {
            return STATUS_INVALID_IMAGE_FORMAT;
        }
        Part.FileBytes = Part.FileBytes < Part.PageCount << PAGE_SHIFT ? Part.FileBytes : Part.PageCount << PAGE_SHIFT;
        Part.FileBytes = Part.FileBytes < ((Bytes + 511) & ~511ull) ? Part.FileBytes : (Bytes + 511) & ~511ull;
        if (Part.PageCount) {
            Segment->Parts[Segment->PartCount++] = Part;
            Next = Part.FirstPage + Part.PageCount;
        }
    }
    return STATUS_SUCCESS;
}

/* What stands where PE00 should. */
static NTSTATUS MiNoImage(const UCHAR *Header, ULONG Have, ULONG NtOffset)
{
    ULONG Known = NtOffset < Have && Have - NtOffset >= 64 ? MiWord(Header + NtOffset) : 0;
    if (Known == 0x454E) { /* NE; which system it is for */
        return Header[NtOffset + 0x36] == 2 ? STATUS_INVALID_IMAGE_WIN_16 : STATUS_INVALID_IMAGE_NE_FORMAT;
    }
    if (Known == 0x454C || Known == 0x584C) { /* LE, LX */
        return STATUS_INVALID_IMAGE_LE_FORMAT;
    }
    if (Known == 0x4550) { /* it is damaged, or has no optional header to speak of */
        return STATUS_INVALID_IMAGE_FORMAT;
    }
    return MiWord(Header + 0x18) < 0x40 ? STATUS_INVALID_IMAGE_PROTECT : STATUS_INVALID_IMAGE_FORMAT;
}

static NTSTATUS MiParseImage(PMI_SEGMENT Segment, ULONG64 FileBytes, UCHAR *Header, MI_HEADERS *Headers)
{
    ULONG Have = 0;
    NTSTATUS Status = Segment->Io->Read(Segment->Context, 0, (PVOID[]){Header},
                                        FileBytes < MI_HEADER_BYTES ? (ULONG)FileBytes : MI_HEADER_BYTES, &Have);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    if (Have < 64 || Header[0] != 'M' || Header[1] != 'Z') {
        return STATUS_INVALID_IMAGE_NOT_MZ;
    }
    ULONG NtOffset = MiLong(Header + 60);
    if (NtOffset > Have || Have - NtOffset < 24 + 112 || MiLong(Header + NtOffset) != 0x4550) {
        return MiNoImage(Header, Have, NtOffset);
    }
    Headers->BaseField = NtOffset + 24 + 24;
    Status = MiReadFacts(Header + NtOffset, Have - NtOffset, &Segment->Image, Headers);
    return NT_SUCCESS(Status) ? MiReadParts(Header, Have, NtOffset, FileBytes, Headers, Segment) : Status;
}

NTSTATUS MiReadImageBytes(PMI_SEGMENT Segment, ULONG64 Rva, PUCHAR Bytes, ULONG Count)
{
    PUCHAR Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, PAGE_SIZE, MI_TAG_SEGMENT);
    NTSTATUS Status = Buffer ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
    for (ULONG At = 0; At < Count && NT_SUCCESS(Status);) {
        ULONG64 Page = (Rva + At) >> PAGE_SHIFT, Skip = (Rva + At) & (PAGE_SIZE - 1), Has = 0;
        ULONG Piece = Count - At < PAGE_SIZE - Skip ? Count - At : (ULONG)(PAGE_SIZE - Skip), Done = 0;
        const MI_PART *Part = MiPartOf(Segment, Page);
        ULONG64 Into = Part ? (Page - Part->FirstPage) << PAGE_SHIFT : 0;
        if (Part && Part->FileBytes > Into) {
            Has = Part->FileBytes - Into < PAGE_SIZE ? Part->FileBytes - Into : PAGE_SIZE;
            Status = Segment->Io->Read(Segment->Context, Part->FileOffset + Into, (PVOID[]){Buffer}, (ULONG)Has, &Done);
        }
        memset(Buffer + Done, 0, PAGE_SIZE - Done);
        memcpy(Bytes + At, Buffer + Skip, Piece);
        At += Piece;
    }
    if (Buffer) {
        ExFreePoolWithTag(Buffer, MI_TAG_SEGMENT);
    }
    return Status;
}

/* Pages that all processes write to, together, have the page file as their home once they are read. */
static NTSTATUS MiChargeImage(PMI_SEGMENT Segment)
{
    ULONG64 Pages = 0;
    for (ULONG Index = 0; Index < Segment->PartCount; Index++) {
        Pages += MiIsPageOfFile(Segment, Segment->Parts[Index].FirstPage) ? 0 : Segment->Parts[Index].PageCount;
    }
    if (!MiChargeCommitment(Pages, NormalPoolPriority)) {
        return STATUS_COMMITMENT_LIMIT;
    }
    Segment->Charged = Pages;
    return STATUS_SUCCESS;
}

NTSTATUS MmCreateImageSegment(ULONG64 FileBytes, const MM_SEGMENT_IO *Io, PVOID Context, PMM_SEGMENT *Result)
{
    PMI_SEGMENT Segment = MiNewSegment(Io, Context);
    UCHAR *Header = ExAllocatePool2(POOL_FLAG_NON_PAGED, MI_HEADER_BYTES, MI_TAG_SEGMENT);
    MI_HEADERS Headers = {.Relocations = 0};
    NTSTATUS Status = STATUS_INSUFFICIENT_RESOURCES;
    *Result = NULL;
    if (Segment && Header) {
        Status = MiParseImage(Segment, FileBytes, Header, &Headers);
        if (NT_SUCCESS(Status)) {
            Segment->Bytes = Segment->Image.SizeOfImage;
            Status = MiReadFixups(Segment, Headers.Relocations, Headers.RelocationBytes, Headers.BaseField);
        }
        if (NT_SUCCESS(Status)) {
            Status = MiChargeImage(Segment);
        }
        if (NT_SUCCESS(Status)) {
            Status = MiAddPrototypes(Segment, MI_BYTES_TO_PAGES(Segment->Bytes), MiPteInFile(MI_PROT_READWRITE));
        }
    }
    if (Header) {
        ExFreePoolWithTag(Header, MI_TAG_SEGMENT);
    }
    if (NT_SUCCESS(Status)) {
        *Result = Segment;
    } else if (Segment) {
        MiDropSegment(Segment);
    }
    return Status;
}

const MM_IMAGE_FACTS *MmImageFacts(PMM_SEGMENT Segment)
{
    return Segment->Parts ? &Segment->Image : NULL;
}
