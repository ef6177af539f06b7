/*
 * vm.h - virtual memory of processes: the system services, and the routines that drivers protect and copy user memory with.
 *
 * Zw routines are calls from kernel mode. Nt routines take ExGetPreviousMode's word for the caller: if that is UserMode, their arguments
 * are read and written as user memory, which kernel addresses are not (STATUS_ACCESS_VIOLATION), and the handle's access counts. All are
 * IRQL = PASSIVE_LEVEL and take a process handle, or NtCurrentProcess(); STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH,
 * STATUS_ACCESS_DENIED and STATUS_PROCESS_IS_TERMINATING are possible everywhere and not repeated. SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_VM_
#define _NTMM_VM_

#define MAP_PROCESS 1
#define MAP_SYSTEM  2

typedef struct _MEMORY_REGION_INFORMATION {
    PVOID AllocationBase;
    ULONG AllocationProtect;
    union {
        ULONG RegionType;
        struct {
            ULONG Private : 1;
            ULONG MappedDataFile : 1;
            ULONG MappedImage : 1;
            ULONG MappedPageFile : 1;
            ULONG MappedPhysical : 1;
            ULONG DirectMapped : 1;
            ULONG Reserved : 26;
        };
    };
    SIZE_T RegionSize;
    SIZE_T CommitSize;
} MEMORY_REGION_INFORMATION, *PMEMORY_REGION_INFORMATION;
C_ASSERT(sizeof(MEMORY_REGION_INFORMATION) == 0x20);

typedef struct _MEMORY_WORKING_SET_EX_BLOCK {
    ULONG_PTR Valid : 1;
    ULONG_PTR ShareCount : 3; /* at most 7 */
    ULONG_PTR Win32Protection : 11;
    ULONG_PTR Shared : 1;
    ULONG_PTR Node : 6;
    ULONG_PTR Locked : 1;
    ULONG_PTR LargePage : 1;
    ULONG_PTR Priority : 3;
    ULONG_PTR Reserved : 3;
    ULONG_PTR SharedOriginal : 1;
    ULONG_PTR Bad : 1;
    ULONG_PTR ReservedUlong : 32;
} MEMORY_WORKING_SET_EX_BLOCK, *PMEMORY_WORKING_SET_EX_BLOCK;
typedef struct _MEMORY_WORKING_SET_EX_INFORMATION {
    PVOID VirtualAddress;
    union {
        MEMORY_WORKING_SET_EX_BLOCK VirtualAttributes;
        ULONG_PTR Long;
    } u1;
} MEMORY_WORKING_SET_EX_INFORMATION, *PMEMORY_WORKING_SET_EX_INFORMATION;
C_ASSERT(sizeof(MEMORY_WORKING_SET_EX_INFORMATION) == 0x10);

typedef enum _VIRTUAL_MEMORY_INFORMATION_CLASS {
    VmPrefetchInformation,
    VmPagePriorityInformation,
    VmCfgCallTargetInformation,
    VmPageDirtyStateInformation
} VIRTUAL_MEMORY_INFORMATION_CLASS;
typedef struct _MEMORY_RANGE_ENTRY {
    PVOID VirtualAddress;
    SIZE_T NumberOfBytes;
} MEMORY_RANGE_ENTRY, *PMEMORY_RANGE_ENTRY;

typedef enum _MEM_EXTENDED_PARAMETER_TYPE {
    MemExtendedParameterInvalidType,
    MemExtendedParameterAddressRequirements,
    MemExtendedParameterNumaNode,
    MemExtendedParameterPartitionHandle,
    MemExtendedParameterUserPhysicalHandle,
    MemExtendedParameterAttributeFlags,
    MemExtendedParameterImageMachine,
    MemExtendedParameterMax
} MEM_EXTENDED_PARAMETER_TYPE;
typedef enum _MEM_SECTION_EXTENDED_PARAMETER_TYPE {
    MemSectionExtendedParameterInvalidType,
    MemSectionExtendedParameterUserPhysicalFlags,
    MemSectionExtendedParameterNumaNode,
    MemSectionExtendedParameterSigningLevel,
    MemSectionExtendedParameterMax
} MEM_SECTION_EXTENDED_PARAMETER_TYPE;
#define MEM_EXTENDED_PARAMETER_TYPE_BITS 8
typedef struct _MEM_EXTENDED_PARAMETER {
    struct {
        ULONG64 Type : MEM_EXTENDED_PARAMETER_TYPE_BITS;
        ULONG64 Reserved : 64 - MEM_EXTENDED_PARAMETER_TYPE_BITS;
    };
    union {
        ULONG64 ULong64;
        PVOID Pointer;
        SIZE_T Size;
        HANDLE Handle;
        ULONG ULong;
    };
} MEM_EXTENDED_PARAMETER, *PMEM_EXTENDED_PARAMETER;
C_ASSERT(sizeof(MEM_EXTENDED_PARAMETER) == 0x10);
typedef struct _MEM_ADDRESS_REQUIREMENTS {
    PVOID LowestStartingAddress; /* a multiple of 64 KiB, or NULL */
    PVOID HighestEndingAddress;  /* inclusive, one less than a multiple of a page; or NULL */
    SIZE_T Alignment;            /* a power of two of at least 64 KiB, or 0 */
} MEM_ADDRESS_REQUIREMENTS, *PMEM_ADDRESS_REQUIREMENTS;

EXTERN_C_START

/* Reserves (MEM_RESERVE), commits (MEM_COMMIT) or both: pages of zeroes. *BaseAddress NULL: anywhere (MEM_TOP_DOWN: high); otherwise rounded
 * down to 64 KiB when reserving, to a page when committing. *RegionSize is rounded up so that whole pages hold all of it. Both are
 * written back. ZeroBits other than 0 asks for an address below 4 GiB, which this machine has none of, or (32 and more) is a mask of the
 * bits an address may have. Committing committed pages changes their protection.
 * STATUS_INVALID_PARAMETER_3 (ZeroBits 22 to 31), STATUS_INVALID_PARAMETER_2, _4 (base or size beyond user memory, no size),
 * STATUS_INVALID_PARAMETER_5 (type), STATUS_INVALID_PAGE_PROTECTION, STATUS_CONFLICTING_ADDRESSES (reserve: something is there; commit: not all
 * of it is reserved), STATUS_NO_MEMORY (no such gap), STATUS_COMMITMENT_LIMIT, STATUS_INSUFFICIENT_RESOURCES,
 * STATUS_NOT_SUPPORTED (MEM_PHYSICAL). MEM_RESET: the contents of committed pages may be dropped until they are written to again;
 * MEM_RESET_UNDO: no longer; STATUS_UNSUCCESSFUL if some are gone. MEM_WRITE_WATCH (when reserving): see NtGetWriteWatch.
 * Page: ZwAllocateVirtualMemory, NtAllocateVirtualMemory. */
NTKERNELAPI NTSTATUS NTAPI ZwAllocateVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, ULONG_PTR ZeroBits,
                                                   PSIZE_T RegionSize, ULONG AllocationType, ULONG Protect);
NTKERNELAPI NTSTATUS NTAPI NtAllocateVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, ULONG_PTR ZeroBits,
                                                   PSIZE_T RegionSize, ULONG AllocationType, ULONG Protect);
/* Another name that some documents use for ZwAllocateVirtualMemory. */
NTKERNELAPI NTSTATUS NTAPI MmAllocateVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, ULONG_PTR ZeroBits,
                                                   PSIZE_T RegionSize, ULONG AllocationType, ULONG Protect);
/* With extended parameters in place of ZeroBits: address requirements (not with a base address), a node (there is node 0), attribute flags 0.
 * Placeholders: MEM_RESERVE | MEM_RESERVE_PLACEHOLDER with PAGE_NOACCESS makes one; MEM_RESERVE (| MEM_COMMIT) | MEM_REPLACE_PLACEHOLDER takes
 * the place of exactly one (STATUS_CONFLICTING_ADDRESSES: there is none like that).
 * STATUS_INVALID_PARAMETER: an unknown or a second parameter of a type, requirements that contradict themselves or the base.
 * Page: ZwAllocateVirtualMemoryEx. */
NTKERNELAPI NTSTATUS NTAPI ZwAllocateVirtualMemoryEx(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize,
                                                     ULONG AllocationType, ULONG PageProtection,
                                                     PMEM_EXTENDED_PARAMETER ExtendedParameters, ULONG ExtendedParameterCount);
NTKERNELAPI NTSTATUS NTAPI NtAllocateVirtualMemoryEx(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize,
                                                     ULONG AllocationType, ULONG PageProtection,
                                                     PMEM_EXTENDED_PARAMETER ExtendedParameters, ULONG ExtendedParameterCount);
/* MEM_DECOMMIT: every page that the range touches becomes reserved; size 0: from the base of the region, all of it. MEM_RELEASE: the whole
 * region, by its base, with size 0 (or its exact size). STATUS_INVALID_PARAMETER_2, _3, _4; STATUS_MEMORY_NOT_ALLOCATED;
 * STATUS_FREE_VM_NOT_AT_BASE; STATUS_UNABLE_TO_FREE_VM (beyond the region, or part of it); STATUS_UNABLE_TO_DECOMMIT_VM (large pages, mapped
 * MDLs); STATUS_UNABLE_TO_DELETE_SECTION (a view); STATUS_INVALID_PAGE_PROTECTION (secured). Page: ZwFreeVirtualMemory.
 * MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER: a part of a placeholder becomes one of its own, or an allocation that took a placeholder's place becomes
 * that again; MEM_RELEASE | MEM_COALESCE_PLACEHOLDERS: placeholders side by side, exactly all of them, become one. STATUS_INVALID_PARAMETER_3 (size 0),
 * STATUS_CONFLICTING_ADDRESSES. Page: VirtualFreeEx. */
NTKERNELAPI NTSTATUS NTAPI ZwFreeVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG FreeType);
NTKERNELAPI NTSTATUS NTAPI NtFreeVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG FreeType);
/* Changes the protection of committed pages of one region; *OldProtect is that of the first before. STATUS_INVALID_PARAMETER_2, _3;
 * STATUS_INVALID_PAGE_PROTECTION (no such; copy on write of private pages; secured); STATUS_CONFLICTING_ADDRESSES (not one region);
 * STATUS_NOT_COMMITTED; STATUS_SECTION_PROTECTION. Undocumented. */
NTKERNELAPI NTSTATUS NTAPI ZwProtectVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize,
                                                  ULONG NewProtect, PULONG OldProtect);
NTKERNELAPI NTSTATUS NTAPI NtProtectVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize,
                                                  ULONG NewProtect, PULONG OldProtect);
/* MemoryBasicInformation: the run of alike pages that begins at the address's page; MemoryRegionInformation: the region; with
 * MemoryWorkingSetExInformation the buffer is an array of addresses to be filled in; MemoryMappedFilenameInformation: the file of a view.
 * STATUS_INVALID_PARAMETER (address above user memory), STATUS_INFO_LENGTH_MISMATCH, STATUS_INVALID_INFO_CLASS, STATUS_INVALID_ADDRESS
 * (no region, no file). Page: ZwQueryVirtualMemory. */
NTKERNELAPI NTSTATUS NTAPI ZwQueryVirtualMemory(HANDLE ProcessHandle, PVOID BaseAddress,
                                                MEMORY_INFORMATION_CLASS MemoryInformationClass, PVOID MemoryInformation,
                                                SIZE_T MemoryInformationLength, PSIZE_T ReturnLength);
NTKERNELAPI NTSTATUS NTAPI NtQueryVirtualMemory(HANDLE ProcessHandle, PVOID BaseAddress,
                                                MEMORY_INFORMATION_CLASS MemoryInformationClass, PVOID MemoryInformation,
                                                SIZE_T MemoryInformationLength, PSIZE_T ReturnLength);
/* VmPrefetchInformation brings ranges in; its information is a ULONG, 0. STATUS_INVALID_PARAMETER_2 (class), _3 (no ranges), _5, _6.
 * Page: ZwSetInformationVirtualMemory. */
NTKERNELAPI NTSTATUS NTAPI ZwSetInformationVirtualMemory(HANDLE ProcessHandle,
                                                         VIRTUAL_MEMORY_INFORMATION_CLASS VmInformationClass,
                                                         ULONG_PTR NumberOfEntries, PMEMORY_RANGE_ENTRY VirtualAddresses,
                                                         PVOID VmInformation, ULONG VmInformationLength);
NTKERNELAPI NTSTATUS NTAPI NtSetInformationVirtualMemory(HANDLE ProcessHandle,
                                                         VIRTUAL_MEMORY_INFORMATION_CLASS VmInformationClass,
                                                         ULONG_PTR NumberOfEntries, PMEMORY_RANGE_ENTRY VirtualAddresses,
                                                         PVOID VmInformation, ULONG VmInformationLength);
/* Keeps pages in RAM (MAP_PROCESS, MAP_SYSTEM, or both) until unlocked, freed, or the process ends. STATUS_WAS_LOCKED (a success): some
 * were; STATUS_ACCESS_VIOLATION: not committed, or no access; STATUS_WORKING_SET_QUOTA; STATUS_NOT_LOCKED; STATUS_INVALID_PARAMETER_2, _3,
 * _4. Undocumented. */
NTKERNELAPI NTSTATUS NTAPI ZwLockVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG MapType);
NTKERNELAPI NTSTATUS NTAPI NtLockVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG MapType);
NTKERNELAPI NTSTATUS NTAPI ZwUnlockVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG MapType);
NTKERNELAPI NTSTATUS NTAPI NtUnlockVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG MapType);
/* Copy from and to another process. STATUS_PARTIAL_COPY: not all, *NumberOfBytes were. Undocumented. */
NTKERNELAPI NTSTATUS NTAPI NtReadVirtualMemory(HANDLE ProcessHandle, PVOID BaseAddress, PVOID Buffer, SIZE_T BufferSize,
                                               PSIZE_T NumberOfBytesRead);
NTKERNELAPI NTSTATUS NTAPI NtWriteVirtualMemory(HANDLE ProcessHandle, PVOID BaseAddress, PVOID Buffer, SIZE_T BufferSize,
                                                PSIZE_T NumberOfBytesWritten);
NTKERNELAPI NTSTATUS NTAPI ZwReadVirtualMemory(HANDLE ProcessHandle, PVOID BaseAddress, PVOID Buffer, SIZE_T BufferSize,
                                               PSIZE_T NumberOfBytesRead);
NTKERNELAPI NTSTATUS NTAPI ZwWriteVirtualMemory(HANDLE ProcessHandle, PVOID BaseAddress, PVOID Buffer, SIZE_T BufferSize,
                                                PSIZE_T NumberOfBytesWritten);
#ifndef WRITE_WATCH_FLAG_RESET
#define WRITE_WATCH_FLAG_RESET 1u
#endif
/* Lists pages of a range allocated with MEM_WRITE_WATCH that were written to since it was allocated, or since their tracking was reset, in
 * the order of addresses; *EntriesInUserAddressArray is the room, and then how many were listed. WRITE_WATCH_FLAG_RESET: the listed ones are
 * reset. STATUS_INVALID_PARAMETER_1 (not such a range), _2 (flags; base), _3 (size), _6 (no room). PASSIVE_LEVEL.
 * Page: GetWriteWatch */
NTKERNELAPI NTSTATUS NTAPI NtGetWriteWatch(HANDLE ProcessHandle, ULONG Flags, PVOID BaseAddress, SIZE_T RegionSize,
                                           PVOID *UserAddressArray, PULONG_PTR EntriesInUserAddressArray, PULONG Granularity);
/* No page of the range counts as written to. The same statuses. Page: ResetWriteWatch */
NTKERNELAPI NTSTATUS NTAPI NtResetWriteWatch(HANDLE ProcessHandle, PVOID BaseAddress, SIZE_T RegionSize);
/* Code that was written can be executed: always. */
NTKERNELAPI NTSTATUS NTAPI NtFlushInstructionCache(HANDLE ProcessHandle, PVOID BaseAddress, SIZE_T Length);
/* The copy itself, by process objects; user addresses are those of the process named, PreviousMode UserMode allows no others.
 * STATUS_PARTIAL_COPY, STATUS_ACCESS_VIOLATION (a kernel address for UserMode). Never raises. IRQL <= APC_LEVEL. Undocumented. */
NTKERNELAPI NTSTATUS NTAPI MmCopyVirtualMemory(PEPROCESS FromProcess, PVOID FromAddress, PEPROCESS ToProcess, PVOID ToAddress,
                                               SIZE_T BufferSize, KPROCESSOR_MODE PreviousMode, PSIZE_T NumberOfBytesCopied);

/* Promises that user memory of the current process is not freed and stays accessible (PAGE_READONLY) or writable (PAGE_READWRITE); its pages
 * may still be paged out. The cookie, or NULL: the range is not committed, does not allow it, is not within one region, or the
 * arguments are bad. Ends with the process. IRQL <= APC_LEVEL. Page: MmSecureVirtualMemory, MmSecureVirtualMemoryEx. */
NTKERNELAPI HANDLE NTAPI MmSecureVirtualMemory(PVOID Address, SIZE_T Size, ULONG ProbeMode);
/* Flags: MM_SECURE_EXCLUSIVE, MM_SECURE_NO_CHANGE, MM_SECURE_USER_MODE_ONLY, MM_SECURE_NO_INHERIT. */
NTKERNELAPI HANDLE NTAPI MmSecureVirtualMemoryEx(PVOID Address, SIZE_T Size, ULONG ProbeMode, ULONG Flags);
/* Ends the promise, in the same process; any other cookie is bug check 0x1A/0x15000. IRQL <= APC_LEVEL. Page:
 * MmUnsecureVirtualMemory. */
NTKERNELAPI VOID NTAPI MmUnsecureVirtualMemory(HANDLE SecureHandle);
/* TRUE for an address of the user range. Any IRQL. */
NTKERNELAPI BOOLEAN NTAPI MmIsUserAddress(PVOID VirtualAddress);

EXTERN_C_END
#endif
