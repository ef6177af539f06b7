/*
 * iomdl.c - the I/O manager's MDL calls: memory for them, chains on an IRP, parts of others. SPDX-License-Identifier: MIT
 *
 * Implements IoAllocateMdl, IoFreeMdl, IoBuildPartialMdl. What an MDL describes, and locking and mapping, is mm's.
 *
 *     Irp->MdlAddress -> MDL -> Next -> MDL -> NULL       (SecondaryBuffer appends, else the first is replaced)
 *
 * A partial MDL copies a run of its source's frames and shares the source's system mapping, if there is one; if it is
 * mapped itself (MDL_PARTIAL_HAS_BEEN_MAPPED), IoFreeMdl takes that mapping down. IoFreeMdl never unlocks.
 */
#include "io/iopp.h"

#define IOP_MDL_TAG 0x206c644du /* 'Mdl ' */

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
    ExFreePoolWithTag(Mdl, IOP_MDL_TAG);
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
    if ((SIZE_T)(USHORT)TargetMdl->Size < sizeof(MDL) + Pages * sizeof(PFN_NUMBER))
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
