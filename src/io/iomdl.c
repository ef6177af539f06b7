/*
 * iomdl.c - the I/O manager's MDL calls: memory for them, chains on an IRP, parts of others. SPDX-License-Identifier: MIT
 *
 * Implements IoAllocateMdl, IoFreeMdl, IoBuildPartialMdl. What an MDL describes, and locking and mapping, is mm's.
 *
 *     Irp->MdlAddress -> MDL -> Next -> MDL -> NULL       (SecondaryBuffer appends, else the first is replaced)
 *
 * A partial MDL copies a run of its source's frames and shares the source's system mapping, if there is one; if it is
 * mapped itself (MDL_PARTIAL_HAS_BEEN_MAPPED), IoFreeMdl takes that mapping down. IoFreeMdl never unlocks; freeing an MDL
 * that is mapped (its system PTEs would be lost) is 0xC4/0xB8, Driver Verifier's number, made always.
 *
 * Size has 16 bits and an MDL up to 8 MiB of pages: of a target whose room Size cannot tell, the pool is asked, if it knows
 * the block; else the caller is believed.
 */
#include "io/iopp.h"

PMDL IoAllocateMdl(PVOID VirtualAddress, ULONG Length, BOOLEAN SecondaryBuffer, BOOLEAN ChargeQuota, PIRP Irp)
{
    PMDL Mdl;
    UNREFERENCED_PARAMETER(ChargeQuota);
    if (Length > 0xfffff000u)
        return NULL; /* 4 GiB - PAGE_SIZE */
    Mdl = ExAllocatePool2(POOL_FLAG_NON_PAGED, MmSizeOfMdl(VirtualAddress, Length), IOP_MDL_TAG);
    if (Mdl == NULL)
        return NULL;
    MmInitializeMdl(Mdl, VirtualAddress, Length);
    if (Irp) {
        if (SecondaryBuffer && Irp->MdlAddress) {
            PMDL Last = Irp->MdlAddress;
            while (Last->Next)
                Last = Last->Next;
            Last->Next = Mdl;
        } else {
            Irp->MdlAddress = Mdl;
        }
    }
    return Mdl;
}

VOID IoFreeMdl(PMDL Mdl)
{
    MmPrepareMdlForReuse(Mdl);
    if ((Mdl->MdlFlags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_PARTIAL)) == MDL_MAPPED_TO_SYSTEM_VA)
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "IoFreeMdl was called for an MDL whose pages are still mapped.", NULL, 0xB8,
               (ULONG_PTR)Mdl, (USHORT)Mdl->MdlFlags, 0);
    ExFreePoolWithTag(Mdl, IOP_MDL_TAG);
}

/* Pages that the target has room for, as far as anybody knows. */
static SIZE_T IopRoomOfMdl(PMDL Mdl, SIZE_T Wanted)
{
    SIZE_T Own = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount);
    BOOLEAN Charged;
    if (sizeof(MDL) + Own * sizeof(PFN_NUMBER) <= MAXUSHORT && sizeof(MDL) + Wanted * sizeof(PFN_NUMBER) <= MAXUSHORT)
        return ((SIZE_T)(USHORT)Mdl->Size - sizeof(MDL)) / sizeof(PFN_NUMBER);
    if (Mdl->Next == NULL && (MmRegionOf(Mdl) == MmRegionNonPagedPool) && ((ULONG_PTR)Mdl & (PAGE_SIZE - 1)) == 0)
        return (ExQueryPoolBlockSize(Mdl, &Charged) - sizeof(MDL)) / sizeof(PFN_NUMBER);
    return Own > Wanted ? Own : Wanted;
}

VOID IoBuildPartialMdl(PMDL SourceMdl, PMDL TargetMdl, PVOID VirtualAddress, ULONG Length)
{
    ULONG_PTR Start = (ULONG_PTR)MmGetMdlVirtualAddress(SourceMdl), Va = (ULONG_PTR)VirtualAddress;
    ULONG_PTR Offset = Va - Start;
    ULONG Bytes = Length ? Length : (ULONG)(SourceMdl->ByteCount - Offset);
    if (Va < Start || Offset > SourceMdl->ByteCount || Bytes > SourceMdl->ByteCount - Offset)
        KiStop(INVALID_MDL_RANGE, "IoBuildPartialMdl was asked for a range that is not within the source MDL.", NULL,
               (ULONG_PTR)SourceMdl, (ULONG_PTR)TargetMdl, (ULONG_PTR)VirtualAddress, Length);
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(VirtualAddress, Bytes);
    if (IopRoomOfMdl(TargetMdl, Pages) < Pages)
        KiStop(TARGET_MDL_TOO_SMALL, "IoBuildPartialMdl was given a target MDL with room for too few pages.", NULL, 0, 0, 0, 0);
    MmPrepareMdlForReuse(TargetMdl);
    TargetMdl->Process = SourceMdl->Process;
    TargetMdl->StartVa = PAGE_ALIGN(VirtualAddress);
    TargetMdl->ByteOffset = BYTE_OFFSET(VirtualAddress);
    TargetMdl->ByteCount = Bytes;
    TargetMdl->MdlFlags =
        (CSHORT)((TargetMdl->MdlFlags & (MDL_ALLOCATED_FIXED_SIZE | MDL_ALLOCATED_MUST_SUCCEED)) | MDL_PARTIAL |
                 (SourceMdl->MdlFlags & (MDL_SOURCE_IS_NONPAGED_POOL | MDL_MAPPED_TO_SYSTEM_VA | MDL_IO_SPACE)));
    TargetMdl->MappedSystemVa = (SourceMdl->MdlFlags & (MDL_SOURCE_IS_NONPAGED_POOL | MDL_MAPPED_TO_SYSTEM_VA))
                                    ? (PUCHAR)SourceMdl->MappedSystemVa + Offset
                                    : NULL;
    SIZE_T First = ((ULONG_PTR)TargetMdl->StartVa - (ULONG_PTR)SourceMdl->StartVa) >> PAGE_SHIFT;
    memcpy(MmGetMdlPfnArray(TargetMdl), MmGetMdlPfnArray(SourceMdl) + First, Pages * sizeof(PFN_NUMBER));
}
