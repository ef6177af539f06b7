/*
 * mm.h - the memory manager's driver-visible face: MDLs, physical addresses, I/O space, contiguous memory.
 *
 * Each declaration carries its contract: what it does, units, IRQL, every failure, and the name of
 * Microsoft's page. The memory it speaks of is the simulated machine's. Host memory (a source driver's
 * globals, stack and malloc blocks) has no frames: the routines below say what they do with it.
 * SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_MM_
#define _NTMM_MM_

typedef struct _MDL {
    struct _MDL *Next;
    CSHORT Size;
    CSHORT MdlFlags;
    USHORT AllocationProcessorNumber;
    USHORT Reserved;
    struct _KPROCESS *Process;
    PVOID MappedSystemVa;
    PVOID StartVa;
    ULONG ByteCount;
    ULONG ByteOffset;
} MDL, *PMDL;
typedef MDL *PMDLX;
C_ASSERT(sizeof(MDL) == 0x30 && offsetof(MDL, Process) == 0x10 && offsetof(MDL, ByteOffset) == 0x2C);

/* MdlFlags */
#define MDL_MAPPED_TO_SYSTEM_VA     0x1
#define MDL_PAGES_LOCKED            0x2
#define MDL_SOURCE_IS_NONPAGED_POOL 0x4
#define MDL_ALLOCATED_FIXED_SIZE    0x8
#define MDL_PARTIAL                 0x10
#define MDL_PARTIAL_HAS_BEEN_MAPPED 0x20
#define MDL_IO_PAGE_READ            0x40
#define MDL_WRITE_OPERATION         0x80
#define MDL_LOCKED_PAGE_TABLES      0x100
#define MDL_PARENT_MAPPED_SYSTEM_VA 0x100
#define MDL_FREE_EXTRA_PTES         0x200
#define MDL_DESCRIBES_AWE           0x400
#define MDL_IO_SPACE                0x800
#define MDL_NETWORK_HEADER          0x1000
#define MDL_MAPPING_CAN_FAIL        0x2000
#define MDL_PAGE_CONTENTS_INVARIANT 0x4000
#define MDL_ALLOCATED_MUST_SUCCEED  0x4000
#define MDL_INTERNAL                0x8000

#define MDL_MAPPING_FLAGS                                                                                                      \
    (MDL_MAPPED_TO_SYSTEM_VA | MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL | MDL_PARTIAL_HAS_BEEN_MAPPED |                  \
     MDL_PARENT_MAPPED_SYSTEM_VA | MDL_IO_SPACE)

typedef enum _MM_PAGE_PRIORITY { LowPagePriority = 0, NormalPagePriority = 16, HighPagePriority = 32 } MM_PAGE_PRIORITY;
#define MdlMappingNoWrite       0x80000000
#define MdlMappingNoExecute     0x40000000
#define MdlMappingWithGuardPtes 0x20000000

typedef enum _LOCK_OPERATION { IoReadAccess, IoWriteAccess, IoModifyAccess } LOCK_OPERATION;
typedef enum _MEMORY_CACHING_TYPE_ORIG { MmFrameBufferCached = 2 } MEMORY_CACHING_TYPE_ORIG;
typedef enum _MEMORY_CACHING_TYPE {
    MmNonCached = FALSE,
    MmCached = TRUE,
    MmWriteCombined = MmFrameBufferCached,
    MmHardwareCoherentCached,
    MmNonCachedUnordered,
    MmUSWCCached,
    MmMaximumCacheType,
    MmNotMapped = -1
} MEMORY_CACHING_TYPE;
typedef enum _MM_SYSTEM_SIZE { MmSmallSystem, MmMediumSystem, MmLargeSystem } MM_SYSTEMSIZE;
typedef enum _MMFLUSH_TYPE { MmFlushForDelete, MmFlushForWrite } MMFLUSH_TYPE;

/* flag words of the Mm routines */
#define MM_DONT_ZERO_ALLOCATION                              0x1
#define MM_ALLOCATE_FROM_LOCAL_NODE_ONLY                     0x2
#define MM_ALLOCATE_FULLY_REQUIRED                           0x4
#define MM_ALLOCATE_NO_WAIT                                  0x8
#define MM_ALLOCATE_PREFER_CONTIGUOUS                        0x10
#define MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS                0x20
#define MM_ALLOCATE_FAST_LARGE_PAGES                         0x40
#define MM_ALLOCATE_TRIM_IF_NECESSARY                        0x80
#define MM_ALLOCATE_AND_HOT_REMOVE                           0x100
#define MM_FREE_MDL_PAGES_ZERO                               0x1
#define MM_ANY_NODE_OK                                       0x80000000
#define MM_ALLOCATE_CONTIGUOUS_MEMORY_FAST_ONLY              0x1
#define MM_MAPPING_ADDRESS_DIVISIBLE                         0x1
#define MM_COPY_MEMORY_PHYSICAL                              0x1
#define MM_COPY_MEMORY_VIRTUAL                               0x2
#define MM_SECURE_EXCLUSIVE                                  0x1
#define MM_SECURE_NO_CHANGE                                  0x2
#define MM_SECURE_USER_MODE_ONLY                             0x4
#define MM_SECURE_NO_INHERIT                                 0x8
#define MM_SYSTEM_VIEW_EXCEPTIONS_FOR_INPAGE_ERRORS          0x1
#define MM_DUMP_MAP_CACHED                                   0x1
#define MM_DUMP_MAP_INVALIDATE                               0x2
#define MM_PROTECT_DRIVER_SECTION_ALLOW_UNLOAD               0x1
#define MM_GET_CACHE_ATTRIBUTE_IO_SPACE                      0x1
#define MM_PERMANENT_ADDRESS_IS_IO_SPACE                     0x1
#define MM_GET_PHYSICAL_MEMORY_RANGES_INCLUDE_FILE_ONLY      0x1
#define MM_GET_PHYSICAL_MEMORY_RANGES_INCLUDE_ALL_PARTITIONS 0x2
#define MM_ADD_PHYSICAL_MEMORY_ALREADY_ZEROED                0x1
#define MM_ADD_PHYSICAL_MEMORY_LARGE_PAGES_ONLY              0x2
#define MM_ADD_PHYSICAL_MEMORY_HUGE_PAGES_ONLY               0x4
#define MM_REMOVE_PHYSICAL_MEMORY_BAD_ONLY                   0x1
#define MM_FORCE_CLOSED_DATA                                 0x1
#define MM_FORCE_CLOSED_IMAGE                                0x2
#define MM_FORCE_CLOSED_LATER_OK                             0x4
#define MM_MAXIMUM_DISK_IO_SIZE                              0x10000

/* page protection */
#define PAGE_NOACCESS                   0x1
#define PAGE_READONLY                   0x2
#define PAGE_READWRITE                  0x4
#define PAGE_WRITECOPY                  0x8
#define PAGE_EXECUTE                    0x10
#define PAGE_EXECUTE_READ               0x20
#define PAGE_EXECUTE_READWRITE          0x40
#define PAGE_EXECUTE_WRITECOPY          0x80
#define PAGE_GUARD                      0x100
#define PAGE_NOCACHE                    0x200
#define PAGE_WRITECOMBINE               0x400
#define PAGE_GRAPHICS_NOACCESS          0x800
#define PAGE_GRAPHICS_READONLY          0x1000
#define PAGE_GRAPHICS_READWRITE         0x2000
#define PAGE_GRAPHICS_EXECUTE           0x4000
#define PAGE_GRAPHICS_EXECUTE_READ      0x8000
#define PAGE_GRAPHICS_EXECUTE_READWRITE 0x10000
#define PAGE_GRAPHICS_COHERENT          0x20000
#define PAGE_TARGETS_INVALID            0x40000000
#define PAGE_TARGETS_NO_UPDATE          0x40000000
#define PAGE_ENCLAVE_THREAD_CONTROL     0x80000000
#define PAGE_REVERT_TO_FILE_MAP         0x80000000
#define PAGE_ENCLAVE_UNVALIDATED        0x20000000

/* allocation type, free type, region state and type: several values have two names, the routine decides which
 */
#define MEM_COMMIT                     0x1000
#define MEM_RESERVE                    0x2000
#define MEM_DECOMMIT                   0x4000
#define MEM_REPLACE_PLACEHOLDER        0x4000
#define MEM_RELEASE                    0x8000
#define MEM_FREE                       0x10000
#define MEM_PRIVATE                    0x20000
#define MEM_MAPPED                     0x40000
#define MEM_RESERVE_PLACEHOLDER        0x40000
#define MEM_RESET                      0x80000
#define MEM_TOP_DOWN                   0x100000
#define MEM_WRITE_WATCH                0x200000
#define MEM_PHYSICAL                   0x400000
#define MEM_ROTATE                     0x800000
#define MEM_DIFFERENT_IMAGE_BASE_OK    0x800000
#define MEM_RESET_UNDO                 0x1000000
#define MEM_IMAGE                      0x1000000
#define MEM_LARGE_PAGES                0x20000000
#define MEM_DOS_LIM                    0x40000000
#define MEM_4MB_PAGES                  0x80000000
#define MEM_64K_PAGES                  0x20400000
#define MEM_COALESCE_PLACEHOLDERS      0x1
#define MEM_PRESERVE_PLACEHOLDER       0x2
#define MEM_UNMAP_WITH_TRANSIENT_BOOST 0x1

/* sections */
#define SEC_HUGE_PAGES               0x20000
#define SEC_PARTITION_OWNER_HANDLE   0x40000
#define SEC_64K_PAGES                0x80000
#define SEC_BASED                    0x200000
#define SEC_NO_CHANGE                0x400000
#define SEC_FILE                     0x800000
#define SEC_IMAGE                    0x1000000
#define SEC_PROTECTED_IMAGE          0x2000000
#define SEC_RESERVE                  0x4000000
#define SEC_COMMIT                   0x8000000
#define SEC_NOCACHE                  0x10000000
#define SEC_GLOBAL                   0x20000000
#define SEC_WRITECOMBINE             0x40000000
#define SEC_LARGE_PAGES              0x80000000
#define SEC_IMAGE_NO_EXECUTE         0x11000000
#define SECTION_QUERY                0x1
#define SECTION_MAP_WRITE            0x2
#define SECTION_MAP_READ             0x4
#define SECTION_MAP_EXECUTE          0x8
#define SECTION_EXTEND_SIZE          0x10
#define SECTION_MAP_EXECUTE_EXPLICIT 0x20
#define SECTION_ALL_ACCESS           0xF001F

typedef enum _SECTION_INHERIT { ViewShare = 1, ViewUnmap = 2 } SECTION_INHERIT;

#define PROCESS_VM_OPERATION 0x8
#define PROCESS_VM_READ      0x10
#define PROCESS_VM_WRITE     0x20

typedef enum _MEMORY_INFORMATION_CLASS {
    MemoryBasicInformation = 0,
    MemoryWorkingSetInformation = 1,
    MemoryMappedFilenameInformation = 2,
    MemoryRegionInformation = 3,
    MemoryWorkingSetExInformation = 4,
    MemorySharedCommitInformation = 5,
    MemoryImageInformation = 6,
    MemoryRegionInformationEx = 7,
    MemoryPrivilegedBasicInformation = 8,
    MemoryEnclaveImageInformation = 9,
    MemoryBasicInformationCapped = 10,
    MemoryPhysicalContiguityInformation = 11,
    MemoryBadInformation = 12,
    MemoryBadInformationAllProcesses = 13,
    MemoryImageExtensionInformation = 14,
} MEMORY_INFORMATION_CLASS;

typedef struct _MEMORY_BASIC_INFORMATION {
    PVOID BaseAddress;
    PVOID AllocationBase;
    ULONG AllocationProtect;
    USHORT PartitionId;
    SIZE_T RegionSize;
    ULONG State;
    ULONG Protect;
    ULONG Type;
} MEMORY_BASIC_INFORMATION, *PMEMORY_BASIC_INFORMATION;
C_ASSERT(sizeof(MEMORY_BASIC_INFORMATION) == 0x30 && offsetof(MEMORY_BASIC_INFORMATION, RegionSize) == 0x18);

typedef struct _PHYSICAL_MEMORY_RANGE {
    PHYSICAL_ADDRESS BaseAddress;
    LARGE_INTEGER NumberOfBytes;
} PHYSICAL_MEMORY_RANGE, *PPHYSICAL_MEMORY_RANGE;
C_ASSERT(sizeof(PHYSICAL_MEMORY_RANGE) == 0x10);

typedef VOID *PVOID64;
typedef union _FILE_SEGMENT_ELEMENT {
    PVOID64 Buffer;
    ULONGLONG Alignment;
} FILE_SEGMENT_ELEMENT, *PFILE_SEGMENT_ELEMENT;
C_ASSERT(sizeof(FILE_SEGMENT_ELEMENT) == 8);

typedef enum _MM_MDL_PAGE_CONTENTS_STATE {
    MmMdlPageContentsDynamic,
    MmMdlPageContentsInvariant,
    MmMdlPageContentsQuery
} MM_MDL_PAGE_CONTENTS_STATE;

typedef VOID MM_MDL_ROUTINE(PVOID DriverContext, PVOID MappedVa);
typedef MM_MDL_ROUTINE *PMM_MDL_ROUTINE;

typedef struct _MM_PHYSICAL_ADDRESS_LIST {
    PHYSICAL_ADDRESS PhysicalAddress;
    SIZE_T NumberOfBytes;
} MM_PHYSICAL_ADDRESS_LIST, *PMM_PHYSICAL_ADDRESS_LIST;

typedef struct _MM_COPY_ADDRESS {
    union {
        PVOID VirtualAddress;
        PHYSICAL_ADDRESS PhysicalAddress;
    };
} MM_COPY_ADDRESS, *PMMCOPY_ADDRESS;
C_ASSERT(sizeof(MM_COPY_ADDRESS) == 8);

EXTERN_C_START

/* ---- limits of the address ranges: variables, set when the system starts ---- */
/* Highest address of user memory. Page: Mm64BitPhysicalAddress. */
extern NTKERNELAPI PVOID MmHighestUserAddress;
/* First address of system memory. */
extern NTKERNELAPI PVOID MmSystemRangeStart;
/* An address whose whole page stops the system when it is touched, whatever handlers there are. Pages: MmBadPointer, MM_BAD_POINTER */
extern NTKERNELAPI PVOID MmBadPointer;
#define MM_BAD_POINTER MmBadPointer
/* Whether the thread is in file system I/O for a page fault already: never, as page-ins are the machine's. IRQL <= DISPATCH_LEVEL.
 * Page: MmIsRecursiveIoFault */
NTKERNELAPI BOOLEAN MmIsRecursiveIoFault(VOID);
/* An end of a buffer above this is not user memory. */
extern NTKERNELAPI ULONG_PTR MmUserProbeAddress;
/* Points at TRUE: physical addresses above 4 GiB are supported. Page: Mm64BitPhysicalAddress. */
extern NTKERNELAPI PBOOLEAN Mm64BitPhysicalAddress;
#define MM_HIGHEST_USER_ADDRESS MmHighestUserAddress
#define MM_SYSTEM_RANGE_START   MmSystemRangeStart
#define MM_USER_PROBE_ADDRESS   MmUserProbeAddress
#define MM_LOWEST_USER_ADDRESS  ((PVOID)0x10000)

/* ---- memory descriptor lists ---- */

/* Bytes of an MDL for Length bytes at Base: the header and a PFN_NUMBER for each page spanned. Any IRQL.
 * Page: MmSizeOfMdl. */
NTKERNELAPI SIZE_T MmSizeOfMdl(PVOID Base, SIZE_T Length);

/* Formats the header of an MDL in the caller's nonpaged memory; the page array is not touched. IRQL <=
 * DISPATCH_LEVEL. Page: MmInitializeMdl. */
#define MmInitializeMdl(MemoryDescriptorList, BaseVa, Length)                                                                  \
    do {                                                                                                                       \
        (MemoryDescriptorList)->Next = (PMDL)NULL;                                                                             \
        (MemoryDescriptorList)->Size =                                                                                         \
            (CSHORT)(sizeof(MDL) + (sizeof(PFN_NUMBER) * ADDRESS_AND_SIZE_TO_SPAN_PAGES((BaseVa), (Length))));                 \
        (MemoryDescriptorList)->MdlFlags = 0;                                                                                  \
        (MemoryDescriptorList)->StartVa = (PVOID)PAGE_ALIGN((BaseVa));                                                         \
        (MemoryDescriptorList)->ByteOffset = BYTE_OFFSET((BaseVa));                                                            \
        (MemoryDescriptorList)->ByteCount = (ULONG)(Length);                                                                   \
    } while (0)

/* Any IRQL. Pages: MmGetMdlByteCount, MmGetMdlByteOffset, MmGetMdlVirtualAddress, MmGetMdlPfnArray. */
#define MmGetMdlByteCount(Mdl)      ((Mdl)->ByteCount)
#define MmGetMdlByteOffset(Mdl)     ((Mdl)->ByteOffset)
#define MmGetMdlBaseVa(Mdl)         ((Mdl)->StartVa)
#define MmGetMdlVirtualAddress(Mdl) ((PVOID)((ULONG_PTR)((Mdl)->StartVa) + (Mdl)->ByteOffset))
#define MmGetMdlPfnArray(Mdl)       ((PPFN_NUMBER)((Mdl) + 1))

/* Formats an MDL, in memory of the caller's or (MemoryDescriptorList NULL) in new nonpaged pool; NULL if
 * there is none. Obsolete: IoAllocateMdl. IRQL <= DISPATCH_LEVEL. */
NTKERNELAPI PMDL MmCreateMdl(PMDL MemoryDescriptorList, PVOID Base, SIZE_T Length);

/* Fills in the pages of an MDL over resident system memory and sets MDL_SOURCE_IS_NONPAGED_POOL and
 * MappedSystemVa. Such an MDL is not locked, unlocked or unmapped. Memory that is not resident, or the
 * host's, is bug check 0x1A/0x1240. IRQL <= DISPATCH_LEVEL. Page: MmBuildMdlForNonPagedPool. */
NTKERNELAPI VOID MmBuildMdlForNonPagedPool(PMDL MemoryDescriptorList);

/* Makes the pages resident, checks the access, locks them and fills in their numbers; sets MDL_PAGES_LOCKED,
 * and MDL_WRITE_OPERATION for IoWriteAccess and IoModifyAccess. Raises STATUS_ACCESS_VIOLATION (also for host
 * memory, which has no frames) or STATUS_INSUFFICIENT_RESOURCES, and then nothing stays locked. IRQL <=
 * APC_LEVEL for pageable memory, else
 * <= DISPATCH_LEVEL. Page: MmProbeAndLockPages. */
NTKERNELAPI VOID MmProbeAndLockPages(PMDL MemoryDescriptorList, KPROCESSOR_MODE AccessMode, LOCK_OPERATION Operation);

/* Unlocks; takes a system mapping down first. An MDL that is not locked is bug check 0x76/1 (process memory)
 * or 0x4E/7. IRQL <= DISPATCH_LEVEL. Page: MmUnlockPages. */
NTKERNELAPI VOID MmUnlockPages(PMDL MemoryDescriptorList);

/* Maps the pages of a locked (or built, or partial) MDL to a second address: KernelMode into system space,
 * UserMode into the user range (RequestedAddress, or anywhere). The result includes ByteOffset. KernelMode
 * failure is NULL, or with BugCheckOnFailure bug check 0x3F; UserMode failure raises, and such a mapping is
 * never executable. Priority is an MM_PAGE_PRIORITY, with MdlMappingNoWrite and MdlMappingNoExecute or'ed in.
 * A page that is not locked is 0x1A/0x1236. IRQL <= DISPATCH_LEVEL (UserMode: APC_LEVEL). Page:
 * MmMapLockedPagesSpecifyCache. */
NTKERNELAPI PVOID MmMapLockedPagesSpecifyCache(PMDL MemoryDescriptorList, KPROCESSOR_MODE AccessMode,
                                               MEMORY_CACHING_TYPE CacheType, PVOID RequestedAddress, ULONG BugCheckOnFailure,
                                               ULONG Priority);
/* The obsolete form: cached; failure bug checks (KernelMode) or raises. Page: MmMapLockedPages. */
NTKERNELAPI PVOID MmMapLockedPages(PMDL MemoryDescriptorList, KPROCESSOR_MODE AccessMode);

/* Takes a mapping down. An MDL that is not mapped there is bug check 0xDA. IRQL <= DISPATCH_LEVEL (user
 * address: APC_LEVEL). Page: MmUnmapLockedPages. */
NTKERNELAPI VOID MmUnmapLockedPages(PVOID BaseAddress, PMDL MemoryDescriptorList);

/* The system address of the MDL's buffer, mapped if it is not yet; NULL if it cannot be. IRQL <=
 * DISPATCH_LEVEL. Page: MmGetSystemAddressForMdlSafe. */
FORCEINLINE PVOID MmGetSystemAddressForMdlSafe(PMDL Mdl, ULONG Priority)
{
    if (Mdl->MdlFlags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL)) {
        return Mdl->MappedSystemVa;
    }
    return MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, FALSE, Priority);
}
/* Obsolete: a failure bug checks. Page: MmGetSystemAddressForMdl. */
#define MmGetSystemAddressForMdl(Mdl)                                                                                          \
    (((Mdl)->MdlFlags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL)) ? (Mdl)->MappedSystemVa                       \
                                                                                 : MmMapLockedPages((Mdl), KernelMode))

/* Takes down the mapping that a partial MDL made itself, so that the MDL can be built again. IRQL <=
 * DISPATCH_LEVEL. Page: MmPrepareMdlForReuse. */
#define MmPrepareMdlForReuse(Mdl)                                                                                              \
    do {                                                                                                                       \
        if (((Mdl)->MdlFlags & MDL_PARTIAL_HAS_BEEN_MAPPED) != 0) {                                                            \
            MmUnmapLockedPages((Mdl)->MappedSystemVa, (Mdl));                                                                  \
        }                                                                                                                      \
    } while (0)

/* Moves the start of the buffer NumberOfBytes forward; pages passed whole are unlocked at once, a mapping's
 * address moves along. STATUS_INVALID_PARAMETER_2: past the end. IRQL <= DISPATCH_LEVEL. Page: MmAdvanceMdl.
 */
NTKERNELAPI NTSTATUS MmAdvanceMdl(PMDL Mdl, ULONG NumberOfBytes);

/* Changes the protection of the MDL's own system mapping: PAGE_READONLY, PAGE_READWRITE, PAGE_EXECUTE_READ,
 * PAGE_EXECUTE_READWRITE, PAGE_NOACCESS. STATUS_NOT_MAPPED_VIEW: not mapped. STATUS_INVALID_PAGE_PROTECTION.
 * IRQL <= DISPATCH_LEVEL. Page: MmProtectMdlSystemAddress. */
NTKERNELAPI NTSTATUS MmProtectMdlSystemAddress(PMDL MemoryDescriptorList, ULONG NewProtect);

/* As MmProbeAndLockPages, in the address space of Process. IRQL <= APC_LEVEL. */
NTKERNELAPI VOID MmProbeAndLockProcessPages(PMDL MemoryDescriptorList, PEPROCESS Process, KPROCESSOR_MODE AccessMode,
                                            LOCK_OPERATION Operation);
/* Locks the pages whose (page-aligned) addresses SegmentArray lists, one for each page of the MDL. Raises, also
 * STATUS_DATATYPE_MISALIGNMENT. IRQL <= APC_LEVEL. Page: MmProbeAndLockSelectedPages. */
NTKERNELAPI VOID MmProbeAndLockSelectedPages(PMDL MemoryDescriptorList, PFILE_SEGMENT_ELEMENT SegmentArray,
                                             KPROCESSOR_MODE AccessMode, LOCK_OPERATION Operation);
/* Maps with a PAGE_ protection (or takes the mapping that stands), calls DriverRoutine at the caller's IRQL with the address
 * of the buffer, and unmaps. STATUS_INVALID_PAGE_PROTECTION, STATUS_INSUFFICIENT_RESOURCES: it was not called. IRQL <=
 * DISPATCH_LEVEL. Page: MmMapMdl. */
NTKERNELAPI NTSTATUS MmMapMdl(PMDL MemoryDescriptorList, ULONG Protection, PMM_MDL_ROUTINE DriverRoutine, PVOID DriverContext);
/* FALSE if a page of the MDL is noncached or write-combined. IRQL <= DISPATCH_LEVEL. */
NTKERNELAPI LOGICAL MmAreMdlPagesCached(PMDL MemoryDescriptorList);
/* Sets (or, MmMdlPageContentsQuery, only asks) whether nobody will change the pages: MDL_PAGE_CONTENTS_INVARIANT. Returns
 * what it was. IRQL <= DISPATCH_LEVEL. */
NTKERNELAPI MM_MDL_PAGE_CONTENTS_STATE MmMdlPageContentsState(PMDL MemoryDescriptorList, MM_MDL_PAGE_CONTENTS_STATE State);
/* TRUE if every byte that the MDL describes is zero. IRQL <= DISPATCH_LEVEL. */
NTKERNELAPI ULONG MmMdlPagesAreZero(PMDL Mdl);
/* Maps an MDL of at most PageTotal pages at reserved addresses (MmAllocateMappingAddress); MM_DUMP_MAP_INVALIDATE takes what
 * is there down first. STATUS_INVALID_PARAMETER, STATUS_INVALID_ADDRESS (not reserved), STATUS_CONFLICTING_ADDRESSES
 * (in use). Any IRQL. Page: MmMapMemoryDumpMdlEx. */
NTKERNELAPI NTSTATUS MmMapMemoryDumpMdlEx(PVOID Va, PFN_NUMBER PageTotal, PMDL MemoryDumpMdl, ULONG Flags);

/* ---- reserved mapping addresses ---- */
/* Addresses in system space without anything behind them, tied to a tag; NULL: none. No bytes is bug check 0xDA/0x100.
 * MM_MAPPING_ADDRESS_DIVISIBLE: the address is a multiple of the size. Released with MmFreeMappingAddress, when empty
 * (0xDA/0x101 to 0x103). IRQL <= APC_LEVEL. Pages: MmAllocateMappingAddress, MmAllocateMappingAddressEx. */
NTKERNELAPI PVOID MmAllocateMappingAddress(SIZE_T NumberOfBytes, ULONG PoolTag);
NTKERNELAPI PVOID MmAllocateMappingAddressEx(SIZE_T NumberOfBytes, ULONG PoolTag, ULONG Flags);
NTKERNELAPI VOID MmFreeMappingAddress(PVOID BaseAddress, ULONG PoolTag);
/* Maps an MDL there, allocating nothing. NULL: it spans more pages than are reserved, or the cache type does not exist. The
 * result includes the byte offset, MappedSystemVa does not. Misuse: 0xDA/0x104, 0x105, 0x107. IRQL <= DISPATCH_LEVEL.
 * Page: MmMapLockedPagesWithReservedMapping. */
NTKERNELAPI PVOID MmMapLockedPagesWithReservedMapping(PVOID MappingAddress, ULONG PoolTag, PMDL MemoryDescriptorList,
                                                      MEMORY_CACHING_TYPE CacheType);
/* Takes it down; all of it, or 0xDA/0x108 to 0x10C. IRQL <= DISPATCH_LEVEL. Page: MmUnmapReservedMapping. */
NTKERNELAPI VOID MmUnmapReservedMapping(PVOID BaseAddress, ULONG PoolTag, PMDL MemoryDescriptorList);
/* Points a user mapping of an MDL, the whole of it, at the one page that PageAddress shows.
 * STATUS_INVALID_PARAMETER, STATUS_INVALID_ADDRESS. IRQL <= APC_LEVEL. */
NTKERNELAPI NTSTATUS MmMapUserAddressesToPage(PVOID BaseAddress, SIZE_T NumberOfBytes, PVOID PageAddress);

/* ---- I/O space ---- */
/* Maps NumberOfBytes of physical addresses (device memory, RAM that somebody holds, or nothing: reads as ones) with a cache
 * type, which gives way to the type that the pages have; the page offset is kept. NULL: zero bytes, or no address space. RAM
 * that nobody holds is bug check 0x1A/0x1233. IRQL <= DISPATCH_LEVEL. Page: MmMapIoSpace. */
NTKERNELAPI PVOID MmMapIoSpace(PHYSICAL_ADDRESS PhysicalAddress, SIZE_T NumberOfBytes, MEMORY_CACHING_TYPE CacheType);
/* With a PAGE_ protection, or'ed with PAGE_NOCACHE or PAGE_WRITECOMBINE. Page: MmMapIoSpaceEx. */
NTKERNELAPI PVOID MmMapIoSpaceEx(PHYSICAL_ADDRESS PhysicalAddress, SIZE_T NumberOfBytes, ULONG Protect);
/* Takes it down; NumberOfBytes as mapped. Unknown: bug check 0xDA/0x400. IRQL <= DISPATCH_LEVEL. Page:
 * MmUnmapIoSpace. */
NTKERNELAPI VOID MmUnmapIoSpace(PVOID BaseAddress, SIZE_T NumberOfBytes);

/* Maps and unmaps video memory: MmMapIoSpace and MmUnmapIoSpace by other names. */
NTKERNELAPI PVOID MmMapVideoDisplay(PHYSICAL_ADDRESS PhysicalAddress, SIZE_T NumberOfBytes, MEMORY_CACHING_TYPE CacheType);
NTKERNELAPI VOID MmUnmapVideoDisplay(PVOID BaseAddress, SIZE_T NumberOfBytes);
/* Is a part of the range mapped as I/O space? IRQL <= DISPATCH_LEVEL. */
NTKERNELAPI LOGICAL MmIsIoSpaceActive(PHYSICAL_ADDRESS StartAddress, SIZE_T NumberOfBytes);
/* An MDL over page-aligned ranges that are not RAM, less than 4 GiB in all: STATUS_INVALID_PARAMETER_1 otherwise;
 * STATUS_INVALID_PARAMETER_2: no ranges; STATUS_INSUFFICIENT_RESOURCES. Not mapped; freed with IoFreeMdl. IRQL <=
 * DISPATCH_LEVEL. Page: MmAllocateMdlForIoSpace. */
NTKERNELAPI NTSTATUS MmAllocateMdlForIoSpace(PMM_PHYSICAL_ADDRESS_LIST PhysicalAddressList, SIZE_T NumberOfEntries,
                                             PMDL *NewMdl);
/* The cache type in force for a page. STATUS_INVALID_PARAMETER: none is (device memory that nobody maps); Ex: MM_GET_CACHE_
 * ATTRIBUTE_IO_SPACE does not agree with what the page is. IRQL <= DISPATCH_LEVEL. */
NTKERNELAPI NTSTATUS MmGetCacheAttribute(PHYSICAL_ADDRESS PhysicalAddress, MEMORY_CACHING_TYPE *CacheType);
NTKERNELAPI NTSTATUS MmGetCacheAttributeEx(PHYSICAL_ADDRESS PhysicalAddress, ULONG Flags, MEMORY_CACHING_TYPE *CacheType);
/* Fixes the cache type of whole pages until the system stops; MM_PERMANENT_ADDRESS_IS_IO_SPACE for what is not RAM.
 * STATUS_INVALID_PARAMETER, STATUS_CONFLICTING_ADDRESSES (another type is in force), STATUS_INSUFFICIENT_RESOURCES. */
NTKERNELAPI NTSTATUS MmSetPermanentCacheAttribute(PHYSICAL_ADDRESS StartAddress, LONGLONG NumberOfBytes,
                                                  MEMORY_CACHING_TYPE CacheType, ULONG Flags);

/* ---- device registers ----
 * One access of the named width each, in order with other accesses; the _BUFFER_ forms one a element. The memory is mapped
 * (MmMapIoSpace) and resident. Any IRQL. Pages: READ_REGISTER_UCHAR and its neighbours. */
#define NTMM_REGISTER(Type, Name)                                                                                              \
    FORCEINLINE Type READ_REGISTER_##Name(volatile Type *Register)                                                             \
    {                                                                                                                          \
        Type Value;                                                                                                            \
        KeMemoryBarrier();                                                                                                     \
        Value = *Register;                                                                                                     \
        return Value;                                                                                                          \
    }                                                                                                                          \
    FORCEINLINE VOID WRITE_REGISTER_##Name(volatile Type *Register, Type Value)                                                \
    {                                                                                                                          \
        *Register = Value;                                                                                                     \
        KeMemoryBarrier();                                                                                                     \
    }                                                                                                                          \
    FORCEINLINE VOID READ_REGISTER_BUFFER_##Name(volatile Type *Register, Type *Buffer, ULONG Count)                           \
    {                                                                                                                          \
        KeMemoryBarrier();                                                                                                     \
        while (Count--) {                                                                                                      \
            *Buffer++ = *Register++;                                                                                           \
        }                                                                                                                      \
    }                                                                                                                          \
    FORCEINLINE VOID WRITE_REGISTER_BUFFER_##Name(volatile Type *Register, Type *Buffer, ULONG Count)                          \
    {                                                                                                                          \
        while (Count--) {                                                                                                      \
            *Register++ = *Buffer++;                                                                                           \
        }                                                                                                                      \
        KeMemoryBarrier();                                                                                                     \
    }
NTMM_REGISTER(UCHAR, UCHAR)
NTMM_REGISTER(USHORT, USHORT)
NTMM_REGISTER(ULONG, ULONG)
NTMM_REGISTER(ULONG64, ULONG64)
#undef NTMM_REGISTER

/* ---- contiguous memory ---- */
typedef ULONG NODE_REQUIREMENT;
/* Page-aligned nonpaged memory whose frames follow each other, no byte of it above HighestAcceptableAddress;
 * cached, executable, contents undefined. NULL: none. IRQL <= DISPATCH_LEVEL. Page:
 * MmAllocateContiguousMemory. */
NTKERNELAPI PVOID MmAllocateContiguousMemory(SIZE_T NumberOfBytes, PHYSICAL_ADDRESS HighestAcceptableAddress);
/* Also with a lowest address, and not across a multiple of BoundaryAddressMultiple (a power of two, or 0). */
NTKERNELAPI PVOID MmAllocateContiguousMemorySpecifyCache(SIZE_T NumberOfBytes, PHYSICAL_ADDRESS LowestAcceptableAddress,
                                                         PHYSICAL_ADDRESS HighestAcceptableAddress,
                                                         PHYSICAL_ADDRESS BoundaryAddressMultiple,
                                                         MEMORY_CACHING_TYPE CacheType);
/* On a node only, unless MM_ANY_NODE_OK, which makes it the preferred one. */
NTKERNELAPI PVOID MmAllocateContiguousMemorySpecifyCacheNode(SIZE_T NumberOfBytes, PHYSICAL_ADDRESS LowestAcceptableAddress,
                                                             PHYSICAL_ADDRESS HighestAcceptableAddress,
                                                             PHYSICAL_ADDRESS BoundaryAddressMultiple,
                                                             MEMORY_CACHING_TYPE CacheType, NODE_REQUIREMENT PreferredNode);
/* PAGE_READWRITE (not executable) or PAGE_EXECUTE_READWRITE, with PAGE_NOCACHE or PAGE_WRITECOMBINE. */
NTKERNELAPI PVOID MmAllocateContiguousNodeMemory(SIZE_T NumberOfBytes, PHYSICAL_ADDRESS LowestAcceptableAddress,
                                                 PHYSICAL_ADDRESS HighestAcceptableAddress,
                                                 PHYSICAL_ADDRESS BoundaryAddressMultiple, ULONG Protect,
                                                 NODE_REQUIREMENT PreferredNode);
/* With a status, a tag that is not 0, and the size rounded up to pages in *NumberOfBytes. MM_ALLOCATE_CONTIGUOUS_MEMORY_
 * FAST_ONLY: no page is moved for it. PartitionObject NULL: the system's. STATUS_INVALID_PARAMETER,
 * STATUS_INSUFFICIENT_RESOURCES. Page: MmAllocateContiguousMemoryEx. */
NTKERNELAPI NTSTATUS MmAllocateContiguousMemoryEx(PSIZE_T NumberOfBytes, PHYSICAL_ADDRESS LowestAcceptableAddress,
                                                  PHYSICAL_ADDRESS HighestAcceptableAddress,
                                                  PHYSICAL_ADDRESS BoundaryAddressMultiple, NODE_REQUIREMENT PreferredNode,
                                                  ULONG Protect, PVOID PartitionObject, ULONG Tag, ULONG Flags,
                                                  PVOID *BaseAddress);
/* Frees by the exact base; anything else is bug check 0xC2/0x60, locked pages are 0x4E/0x9A. IRQL <=
 * DISPATCH_LEVEL. */
NTKERNELAPI VOID MmFreeContiguousMemory(PVOID BaseAddress);
NTKERNELAPI VOID MmFreeContiguousMemorySpecifyCache(PVOID BaseAddress, SIZE_T NumberOfBytes, MEMORY_CACHING_TYPE CacheType);
/* Whole uncached nonpaged pages; freed with the size allocated. IRQL <= APC_LEVEL. Page:
 * MmAllocateNonCachedMemory. */
NTKERNELAPI PVOID MmAllocateNonCachedMemory(SIZE_T NumberOfBytes);
NTKERNELAPI VOID MmFreeNonCachedMemory(PVOID BaseAddress, SIZE_T NumberOfBytes);

/* ---- pages without an address ---- */
/* Zeroed physical pages between the addresses, not mapped, described by a new MDL; SkipBytes moves the range
 * up when it is used up. Perhaps fewer bytes than asked for (see ByteCount); NULL if none. Give back with
 * MmFreePagesFromMdl, then ExFreePool the MDL. IRQL <= DISPATCH_LEVEL. Page: MmAllocatePagesForMdl. */
NTKERNELAPI PMDL MmAllocatePagesForMdl(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress, PHYSICAL_ADDRESS SkipBytes,
                                       SIZE_T TotalBytes);
/* Flags: MM_ALLOCATE_ and MM_DONT_ZERO_ALLOCATION; an unknown one is NULL. CacheType MmNotMapped leaves it to the first
 * mapping. At most 4 GiB less a page.
 * Page: MmAllocatePagesForMdlEx. */
NTKERNELAPI PMDL MmAllocatePagesForMdlEx(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress, PHYSICAL_ADDRESS SkipBytes,
                                         SIZE_T TotalBytes, MEMORY_CACHING_TYPE CacheType, ULONG Flags);
/* From the ideal node first, from no other with MM_ALLOCATE_FROM_LOCAL_NODE_ONLY; a node that does not exist is NULL. Page:
 * MmAllocateNodePagesForMdlEx. */
NTKERNELAPI PMDL MmAllocateNodePagesForMdlEx(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress,
                                             PHYSICAL_ADDRESS SkipBytes, SIZE_T TotalBytes, MEMORY_CACHING_TYPE CacheType,
                                             ULONG IdealNode, ULONG Flags);
/* PartitionObject NULL: the system's; there is no other. */
NTKERNELAPI PMDL MmAllocatePartitionNodePagesForMdlEx(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress,
                                                      PHYSICAL_ADDRESS SkipBytes, SIZE_T TotalBytes,
                                                      MEMORY_CACHING_TYPE CacheType, ULONG IdealNode, ULONG Flags,
                                                      PVOID PartitionObject);
/* Frees the pages and takes a system mapping down; not the MDL. Pages that are not such: 0x4E/0x99, still
 * locked 0x4E/0x9A. IRQL <= DISPATCH_LEVEL. Page: MmFreePagesFromMdl. */
NTKERNELAPI VOID MmFreePagesFromMdl(PMDL MemoryDescriptorList);
/* MM_FREE_MDL_PAGES_ZERO: their contents are wiped first. */
NTKERNELAPI VOID MmFreePagesFromMdlEx(PMDL MemoryDescriptorList, ULONG Flags);

/* ---- physical and virtual addresses ---- */
/* The physical address of a resident virtual one; 0 for anything else, host memory included. Any IRQL.
 * Page: MmGetPhysicalAddress. */
NTKERNELAPI PHYSICAL_ADDRESS MmGetPhysicalAddress(PVOID BaseAddress);
/* The virtual address whose entry owns the frame; NULL if none does. Any IRQL. Page: MmGetVirtualForPhysical.
 */
NTKERNELAPI PVOID MmGetVirtualForPhysical(PHYSICAL_ADDRESS PhysicalAddress);
/* TRUE if an access would not fault right now. IRQL <= DISPATCH_LEVEL. Page: MmIsAddressValid. */
NTKERNELAPI BOOLEAN MmIsAddressValid(PVOID VirtualAddress);
/* TRUE for a valid address of resident system memory. Obsolete. */
NTKERNELAPI BOOLEAN MmIsNonPagedSystemAddressValid(PVOID VirtualAddress);
/* The ranges of RAM, in nonpaged pool that the caller frees with ExFreePool, ended by an entry of zeroes;
 * NULL if there is no pool. PASSIVE_LEVEL. Pages: MmGetPhysicalMemoryRanges, MmGetPhysicalMemoryRangesEx2. */
NTKERNELAPI PPHYSICAL_MEMORY_RANGE MmGetPhysicalMemoryRanges(VOID);
/* PartitionObject NULL: the system's; there is no other. */
NTKERNELAPI PPHYSICAL_MEMORY_RANGE MmGetPhysicalMemoryRangesEx(PVOID PartitionObject);
NTKERNELAPI PPHYSICAL_MEMORY_RANGE MmGetPhysicalMemoryRangesEx2(PVOID PartitionObject, ULONG Flags);
/* ---- pageable sections of drivers ----
 * A driver binary's sections whose names begin with PAGE are pageable. In a source driver nothing is (alloc_text means nothing to the
 * host's compilers): its addresses are accepted, counted, and have no effect. Above APC_LEVEL each of these is bug check 0xC4/0xE5. */
/* Brings the section that holds the address in and keeps it resident until it is unlocked as often as it was locked; returns a
 * handle, valid while the driver is loaded. An address in no section is bug check 0x1A/0x1234. A section that cannot be read in is
 * 0x7A. IRQL <= APC_LEVEL. Pages: MmLockPagableDataSection, MmLockPagableCodeSection. */
NTKERNELAPI PVOID MmLockPagableDataSection(PVOID AddressWithinSection);
/* Has a driver's data made read-only for good by virtual secure mode, which this machine has not: STATUS_INVALID_DEVICE_STATE.
 * STATUS_INVALID_PARAMETER: a size that is not 0, or unknown flags. An address in no driver: bug check 0x1A/0x1100. IRQL <= APC_LEVEL.
 * Page: MmProtectDriverSection */
#define MM_PROTECT_DRIVER_SECTION_ALLOW_UNLOAD 0x1
#define MM_PROTECT_DRIVER_SECTION_VALID_FLAGS  (MM_PROTECT_DRIVER_SECTION_ALLOW_UNLOAD)
NTKERNELAPI NTSTATUS MmProtectDriverSection(PVOID AddressWithinSection, SIZE_T Size, ULONG Flags);
#define MmLockPagableCodeSection(Address) MmLockPagableDataSection((PVOID)(ULONG_PTR)(Address))
/* The older name of the same. */
NTKERNELAPI PVOID MmLockPagableImageSection(PVOID AddressWithinSection);
/* Locks once more, by the handle. A bad handle is 0x1A/0x1234. IRQL <= APC_LEVEL. Page: MmLockPagableSectionByHandle. */
NTKERNELAPI VOID MmLockPagableSectionByHandle(PVOID ImageSectionHandle);
/* Takes one lock back; without locks the section is pageable again. A section that is not locked, or a bad handle, is bug check
 * 0x1A/0x1010. IRQL <= APC_LEVEL. Page: MmUnlockPagableImageSection. */
NTKERNELAPI VOID MmUnlockPagableImageSection(PVOID ImageSectionHandle);
/* Makes all of the driver's code and data pageable, whatever its sections say; locked ones when their locks are gone. Returns where
 * the driver's image begins; NULL: no image holds the address. IRQL <= APC_LEVEL. Page: MmPageEntireDriver. */
NTKERNELAPI PVOID MmPageEntireDriver(PVOID AddressWithinSection);
/* Puts back what the sections say; nothing unless MmPageEntireDriver was called. IRQL <= APC_LEVEL. Page: MmResetDriverPaging. */
NTKERNELAPI VOID MmResetDriverPaging(PVOID AddressWithinSection);

/* Takes a range of RAM away from the system, or brings back what was taken: whole pages, all or nothing. Pageable pages are
 * moved out of the range first. STATUS_INVALID_PARAMETER (not aligned, empty, not RAM of this machine), STATUS_INVALID_ADDRESS
 * (a page of it is in use and cannot move), STATUS_CONFLICTING_ADDRESSES (adding what is there already),
 * STATUS_INSUFFICIENT_RESOURCES (commitment needs it). IRQL <= APC_LEVEL. Pages: MmAddPhysicalMemory, MmRemovePhysicalMemory. */
NTKERNELAPI NTSTATUS MmAddPhysicalMemory(PPHYSICAL_ADDRESS StartAddress, PLARGE_INTEGER NumberOfBytes);
NTKERNELAPI NTSTATUS MmRemovePhysicalMemory(PPHYSICAL_ADDRESS StartAddress, PLARGE_INTEGER NumberOfBytes);
/* The same for single bad pages: they stay RAM in the ranges, on the list of bad pages. */
NTKERNELAPI NTSTATUS MmMarkPhysicalMemoryAsBad(PPHYSICAL_ADDRESS StartAddress, PLARGE_INTEGER NumberOfBytes);
NTKERNELAPI NTSTATUS MmMarkPhysicalMemoryAsGood(PPHYSICAL_ADDRESS StartAddress, PLARGE_INTEGER NumberOfBytes);
/* STATUS_NOT_SUPPORTED: this machine mirrors no memory. */
NTKERNELAPI NTSTATUS MmCreateMirror(VOID);
/* Small, medium or large, from the size of RAM. Any IRQL. Page: MmQuerySystemSize. */
NTKERNELAPI MM_SYSTEMSIZE MmQuerySystemSize(VOID);
/* Is the driver selected for verification (and any option on)? The other two are TRUE as well if it imports from a driver that is. IRQL <=
 * APC_LEVEL. Pages: MmIsDriverSuspectForVerifier, MmIsDriverVerifying, MmIsDriverVerifyingByAddress. */
struct _DRIVER_OBJECT;
NTKERNELAPI LOGICAL MmIsDriverSuspectForVerifier(struct _DRIVER_OBJECT *DriverObject);
NTKERNELAPI LOGICAL MmIsDriverVerifying(struct _DRIVER_OBJECT *DriverObject);
NTKERNELAPI LOGICAL MmIsDriverVerifyingByAddress(PVOID AddressWithinSection);
/* FALSE: this is a workstation. Any IRQL. Page: MmIsThisAnNtAsSystem. */
NTKERNELAPI BOOLEAN MmIsThisAnNtAsSystem(VOID);

/* ---- working sets ---- */
/* Takes every pageable page of the system (paged pool, pageable images) that nobody has locked out of the working set; it stays
 * in RAM as standby or modified page and comes back by a soft fault. PurgeTransition: these are written and given up too, so
 * that the next touch reads a page file. TRUE; FALSE above APC_LEVEL. The second name is the older export. */
NTKERNELAPI BOOLEAN MmTrimAllSystemPageableMemory(BOOLEAN PurgeTransition);
NTKERNELAPI VOID MmTrimAllSystemPagableMemory(BOOLEAN PurgeTransition);
/* Sets the limits, in bytes, of the current process's working set (SystemCache 0) or of the system's (1); 0 leaves one as it is,
 * both (SIZE_T)-1 empties the set. STATUS_BAD_WORKING_SET_LIMIT; STATUS_PRIVILEGE_NOT_HELD: a larger maximum without
 * IncreaseOkay; STATUS_INVALID_LEVEL above APC_LEVEL. */
NTKERNELAPI NTSTATUS MmAdjustWorkingSetSize(SIZE_T WorkingSetMinimum, SIZE_T WorkingSetMaximum, ULONG SystemCache,
                                            BOOLEAN IncreaseOkay);

/* Copies from a virtual (MM_COPY_MEMORY_VIRTUAL) or physical (MM_COPY_MEMORY_PHYSICAL) source into nonpaged
 * memory without ever faulting; *NumberOfBytesTransferred is set also on failure. STATUS_INVALID_PARAMETER:
 * flags. STATUS_ACCESS_VIOLATION, STATUS_INVALID_ADDRESS: the source, from there on, cannot be read (I/O
 * space is refused). IRQL <= APC_LEVEL. Page: MmCopyMemory. */
NTKERNELAPI NTSTATUS MmCopyMemory(PVOID TargetAddress, MM_COPY_ADDRESS SourceAddress, SIZE_T NumberOfBytes, ULONG Flags,
                                  PSIZE_T NumberOfBytesTransferred);

/* The address of a routine of the kernel or the HAL by its name, as drivers ask for newer routines; NULL:
 * there is none of that name. IRQL PASSIVE_LEVEL. Page: MmGetSystemRoutineAddress */
NTKERNELAPI PVOID MmGetSystemRoutineAddress(PUNICODE_STRING SystemRoutineName);
/* The address of what a loaded driver binary ("name.sys") exports; it is called by Microsoft's convention. NULL: there is no such
 * module or export, or the module is the kernel or the HAL. IRQL PASSIVE_LEVEL. Page: MmGetSystemRoutineAddressEx */
NTKERNELAPI PVOID MmGetSystemRoutineAddressEx(PUNICODE_STRING ModuleName, PSTR FunctionName);

EXTERN_C_END

#endif
