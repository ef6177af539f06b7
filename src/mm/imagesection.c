/*
 * imagesection.c - segments of PE images: which part of the file each page shows. SPDX-License-Identifier: MIT
 *
 * An image's pages are laid out by its headers: the headers themselves, then each section at its address, its bytes from the file and
 * zeroes behind them. The file is not trusted: every number is checked against the file's size and the image's before use, and a file that
 * contradicts itself is refused.
 *
 *      file:   | headers | raw .text | raw .data |          image:  | headers | .text | .data 0000 | .bss 000000 |
 *
 * A page of a section that may be written is copied on write, unless the section is shared. Only x64 images, with sections aligned to
 * pages. Loading drivers is another matter (src/ldr).
 * Watch: tests/ddi/section_file.c.
 */
#include "mm/segment.h"

#define MI_HEADER_BYTES 4096u
#define MI_MAX_PARTS    97u
#define PE_X64          0x8664
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

/* The optional header's facts. Optional: its bytes, all 112 of them there. */
static NTSTATUS MiReadFacts(const UCHAR *Nt, MM_IMAGE_FACTS *Facts, ULONG *HeaderBytes)
{
    const UCHAR *Optional = Nt + 24;
    Facts->Machine = MiWord(Nt + 4);
    Facts->Characteristics = MiWord(Nt + 22);
    if (Facts->Machine != PE_X64 || MiWord(Optional) != 0x20B || MiWord(Nt + 20) < 112 || !(Facts->Characteristics & 2)) {
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
    *HeaderBytes = MiLong(Optional + 60);
    Facts->CheckSum = MiLong(Optional + 64);
    Facts->Subsystem = MiWord(Optional + 68);
    Facts->DllCharacteristics = MiWord(Optional + 70);
    Facts->StackReserve = MiQuad(Optional + 72);
    Facts->StackCommit = MiQuad(Optional + 80);
    Facts->LoaderFlags = MiLong(Optional + 104);
    if (SectionAlignment < PAGE_SIZE || (SectionAlignment & (SectionAlignment - 1)) || FileAlignment == 0 ||
        (FileAlignment & (FileAlignment - 1)) || FileAlignment > SectionAlignment || Facts->SizeOfImage == 0 ||
        *HeaderBytes == 0 || *HeaderBytes > Facts->SizeOfImage || (Facts->PreferredBase & 0xFFFF) ||
        Facts->EntryPoint >= Facts->SizeOfImage) {
        return STATUS_INVALID_IMAGE_FORMAT;
    }
    return STATUS_SUCCESS;
}

static NTSTATUS MiReadParts(const UCHAR *Header, ULONG Have, ULONG NtOffset, ULONG64 FileBytes, ULONG HeaderBytes,
                            PMI_SEGMENT Segment)
{
    const UCHAR *Nt = Header + NtOffset;
    ULONG Count = MiWord(Nt + 6), Table = NtOffset + 24 + MiWord(Nt + 20);
    ULONG64 ImagePages = MI_BYTES_TO_PAGES((ULONG64)Segment->Image.SizeOfImage), Next;
    if (Count > MI_MAX_PARTS - 1 || Table > Have || Count * 40 > Have - Table || HeaderBytes > FileBytes) {
        return STATUS_INVALID_IMAGE_FORMAT;
    }
    Segment->Parts = ExAllocatePool2(POOL_FLAG_NON_PAGED, (Count + 1) * sizeof(MI_PART), MI_TAG_SEGMENT);
    if (Segment->Parts == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Segment->Parts[0] = (MI_PART){0, MI_BYTES_TO_PAGES(HeaderBytes), 0, HeaderBytes, MI_PROT_READONLY};
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

static NTSTATUS MiParseImage(PMI_SEGMENT Segment, ULONG64 FileBytes, UCHAR *Header)
{
    ULONG Have = 0, HeaderBytes;
    NTSTATUS Status = Segment->Io->Read(Segment->Context, 0, (PVOID[]){Header},
                                        FileBytes < MI_HEADER_BYTES ? (ULONG)FileBytes : MI_HEADER_BYTES, &Have);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    if (Have < 64 || Header[0] != 'M' || Header[1] != 'Z') {
        return STATUS_INVALID_IMAGE_NOT_MZ;
    }
    ULONG NtOffset = MiLong(Header + 60);
    if (NtOffset > Have || Have - NtOffset < 24 + 112) {
        return STATUS_INVALID_IMAGE_FORMAT;
    }
    if (MiLong(Header + NtOffset) != 0x4550) {
        return MiWord(Header + NtOffset) == 0x454E ? STATUS_INVALID_IMAGE_WIN_16 : STATUS_INVALID_IMAGE_FORMAT;
    }
    Status = MiReadFacts(Header + NtOffset, &Segment->Image, &HeaderBytes);
    return NT_SUCCESS(Status) ? MiReadParts(Header, Have, NtOffset, FileBytes, HeaderBytes, Segment) : Status;
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
    NTSTATUS Status = STATUS_INSUFFICIENT_RESOURCES;
    *Result = NULL;
    if (Segment && Header) {
        Status = MiParseImage(Segment, FileBytes, Header);
        if (NT_SUCCESS(Status)) {
            Segment->Bytes = Segment->Image.SizeOfImage;
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
