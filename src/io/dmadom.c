/*
 * dmadom.c - DMA domains, and the device's side: what a bus master reads and writes. SPDX-License-Identifier: MIT
 *
 * With iommu=1 a device sees logical addresses of its domain only, a page at a time what was mapped for it:
 *
 *      logical page -> Tables[page / 1024][page % 1024] = frame << 12 | RELEASED | WRITES | READS
 *
 * Logical pages are handed out round and round, so that a device that goes on using an address after it was released finds
 * it empty and not another buffer. A touch of what is not mapped, or not for that direction, stops the system: bug check
 * 0xE6/0x26 with the device object, the address, and the kind: 1 read, 2 write where nothing is mapped; 5, 6 the same where
 * something was mapped and released; 3 a read of what is mapped for writing only, 4 a write of what is for reading only.
 *
 * Without it a logical address is a physical one and nothing is checked: a device that is told a wrong address reads or
 * ruins whatever lies there. Where the machine has nothing, it reads ones, and what it writes is dropped.
 *
 * Locks: IopDmaLock over the tables; no lock while bytes move. IopDeviceAccess is what ntmm_device_read and _write call, from
 * threads that are nobody's: the device's.
 */
#include "io/dmap.h"

IOP_DOMAIN *IopCreateDomain(BOOLEAN Translates)
{
    IOP_DOMAIN *Domain = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Domain, IOP_DMA_TAG);
    if (Domain) {
        Domain->Translates = Translates;
        Domain->Next = IOP_LOGICAL_FIRST_PAGE;
    }
    return Domain;
}

VOID IopDeleteDomain(IOP_DOMAIN *Domain)
{
    for (ULONG Index = 0; Index < IOP_DOMAIN_TABLES; Index++)
        if (Domain->Tables[Index])
            ExFreePoolWithTag(Domain->Tables[Index], IOP_DMA_TAG);
    ExFreePoolWithTag(Domain, IOP_DMA_TAG);
}

#define IOP_TAKEN 0x8ull /* reserved: nobody else's, mapped or not */

static ULONG64 *IopEntry(IOP_DOMAIN *Domain, ULONG Page)
{
    ULONG64 *Table = Page / 1024 < IOP_DOMAIN_TABLES ? Domain->Tables[Page / 1024] : NULL;
    return Table ? &Table[Page % 1024] : NULL;
}

/* A run of free pages in [From, To] that begins at a multiple of Align, or 0. Tables that do not exist are free. */
static ULONG IopFindFree(IOP_DOMAIN *Domain, ULONG Pages, ULONG Align, ULONG From, ULONG To)
{
    ULONG Run = 0;
    for (ULONG Page = From; Page <= To && Page >= From; Page++) {
        ULONG64 *Entry = IopEntry(Domain, Page);
        Run = Entry && (*Entry & IOP_TAKEN) ? 0 : Run + 1;
        if (Run >= Pages && ((Page - Pages + 1) & (Align - 1)) == 0)
            return Page - Pages + 1;
    }
    return 0;
}

BOOLEAN IopReserveLogical(IOP_DOMAIN *Domain, ULONG Pages, ULONG Align, ULONG64 Low, ULONG64 High, ULONG *First)
{
    ULONG64 LowPage = (Low + PAGE_SIZE - 1) >> PAGE_SHIFT, HighPage = High >> PAGE_SHIFT;
    ULONG Last = IOP_DOMAIN_TABLES * 1024 - 1, From = IOP_LOGICAL_FIRST_PAGE;
    From = LowPage > From ? (LowPage > Last ? Last : (ULONG)LowPage) : From;
    Last = HighPage < Last ? (ULONG)HighPage : Last;
    if ((High & (PAGE_SIZE - 1)) != PAGE_SIZE - 1 && Last == HighPage)
        Last--;
    if (Pages == 0 || Last < From)
        return FALSE;
    for (;;) {
        ULONG Missing = IOP_DOMAIN_TABLES, Found;
        KiAcquireLock(&IopDmaLock);
        Found = Domain->Next > From && Domain->Next <= Last ? IopFindFree(Domain, Pages, Align, Domain->Next, Last) : 0;
        Found = Found ? Found : IopFindFree(Domain, Pages, Align, From, Last);
        for (ULONG Table = Found / 1024; Found && Table <= (Found + Pages - 1) / 1024 && Missing == IOP_DOMAIN_TABLES; Table++)
            Missing = Domain->Tables[Table] ? Missing : Table;
        if (Found && Missing == IOP_DOMAIN_TABLES) {
            for (ULONG Page = Found; Page < Found + Pages; Page++)
                *IopEntry(Domain, Page) |= IOP_TAKEN;
            Domain->Next = Found + Pages;
            Domain->Mapped += Pages;
        }
        KiReleaseLock(&IopDmaLock);
        *First = Found;
        if (Found == 0 || Missing == IOP_DOMAIN_TABLES)
            return Found != 0;
        ULONG64 *Table = ExAllocatePool2(POOL_FLAG_NON_PAGED, 1024 * sizeof *Table, IOP_DMA_TAG);
        if (Table == NULL)
            return FALSE;
        KiAcquireLock(&IopDmaLock);
        if (Domain->Tables[Missing] == NULL) {
            Domain->Tables[Missing] = Table;
            Table = NULL;
        }
        KiReleaseLock(&IopDmaLock);
        if (Table)
            ExFreePoolWithTag(Table, IOP_DMA_TAG);
    }
}

VOID IopReleaseLogical(IOP_DOMAIN *Domain, ULONG First, ULONG Pages)
{
    KiAcquireLock(&IopDmaLock);
    for (ULONG Page = First; Page < First + Pages; Page++) {
        ULONG64 *Entry = IopEntry(Domain, Page);
        *Entry = *Entry & (IOP_DEVICE_READS | IOP_DEVICE_WRITES | IOP_RELEASED) ? IOP_RELEASED : 0;
    }
    Domain->Mapped -= Pages;
    KiReleaseLock(&IopDmaLock);
}

VOID IopMapLogical(IOP_DOMAIN *Domain, ULONG Page, PFN_NUMBER Frame, ULONG64 Access)
{
    KiAcquireLock(&IopDmaLock);
    *IopEntry(Domain, Page) = Frame << PAGE_SHIFT | IOP_TAKEN | Access;
    KiReleaseLock(&IopDmaLock);
}

VOID IopUnmapLogical(IOP_DOMAIN *Domain, ULONG Page)
{
    KiAcquireLock(&IopDmaLock);
    *IopEntry(Domain, Page) = IOP_TAKEN | IOP_RELEASED;
    KiReleaseLock(&IopDmaLock);
}

/* The physical address behind a logical one of the device. */
static ULONG64 IopTranslate(PDEVICE_OBJECT Device, ULONG64 Logical, BOOLEAN Write)
{
    ULONG64 Entry = 0, Wanted = Write ? IOP_DEVICE_WRITES : IOP_DEVICE_READS;
    if (!KeOptions.Iommu)
        return Logical;
    KiAcquireLock(&IopDmaLock);
    IOP_DOMAIN *Domain = IopDomainOfDevice(Device);
    ULONG64 *Place =
        Domain && Logical >> PAGE_SHIFT < IOP_DOMAIN_TABLES * 1024ull ? IopEntry(Domain, (ULONG)(Logical >> PAGE_SHIFT)) : NULL;
    Entry = Place ? *Place : 0;
    KiReleaseLock(&IopDmaLock);
    if (Entry & Wanted)
        return (Entry & ~(ULONG64)(PAGE_SIZE - 1)) | (Logical & (PAGE_SIZE - 1));
    if (Entry & (IOP_DEVICE_READS | IOP_DEVICE_WRITES))
        IopDmaStop(Write ? "A device wrote to memory that is mapped for it to read only."
                         : "A device read memory that is mapped for it to write only.",
                   0x26, (ULONG_PTR)Device, Logical, Write ? 4 : 3);
    if (Entry & IOP_RELEASED)
        IopDmaStop("A device used an address that was mapped for it and has been released.", 0x26, (ULONG_PTR)Device, Logical,
                   Write ? 6 : 5);
    IopDmaStop("A device used an address that is not mapped for it.", 0x26, (ULONG_PTR)Device, Logical, Write ? 2 : 1);
}

VOID IopDeviceAccess(PDEVICE_OBJECT Device, ULONG64 Logical, PVOID Bytes, SIZE_T Length, BOOLEAN Write)
{
    PUCHAR Host = Bytes;
    while (Length) {
        SIZE_T Some = PAGE_SIZE - (Logical & (PAGE_SIZE - 1));
        Some = Some < Length ? Some : Length;
        ULONG64 Physical = IopTranslate(Device, Logical, Write);
        PUCHAR Window = (PUCHAR)HalWindow(Physical >> PAGE_SHIFT) + (Physical & (PAGE_SIZE - 1));
        if (!MmIsPhysicalMemory(Physical >> PAGE_SHIFT)) {
            if (!Write)
                RtlFillMemory(Host, Some, 0xFF);
        } else if (Write) {
            RtlCopyMemory(Window, Host, Some);
        } else {
            RtlCopyMemory(Host, Window, Some);
        }
        Host += Some;
        Logical += Some;
        Length -= Some;
    }
}
