/*
 * hal.h - the one boundary between the core and the machine below it.
 *
 * The machine is an x86-64 computer: RAM in runs, an MMU that walks four-level page tables kept in that RAM, a TLB,
 * processors' threads, a clock, a console. The core above (src/rtl ... src/vf) includes nothing else from below and can
 * be linked against exactly the symbols declared here (`make linktest`).
 *
 * Contract, for every implementation (src/hal/linux, src/hal/scripted; tests/hal checks both):
 *  1. Calls down are plain functions; results are NTSTATUS or by pointer; errno never crosses. Calls up are one table.
 *  2. Unless it says otherwise a call may be made at any IRQL, from any attached thread, does not block, does not
 *     allocate from the host's heap, uses no vector registers, and is safe inside the trap path.
 *  3. RAM is touched by the core only through the window (HalWindow), never through a simulated address, so the core's
 *     own structures in frames never fault. The window covers RAM and device runs; elsewhere it is not accessible.
 *  4. The MMU honours the page tables: present, writable, user and no-execute bits of all levels; it sets Accessed on
 *     every entry it walks and Dirty on a leaf it lets be written, with interlocked operations. Entries are the
 *     architecture's; bits 9-11 and 52-62 of a present entry are the core's. Bit 7 of a level-2 entry is a 2 MiB page.
 *     A translation may be cached (TLB) until flushed: after the core makes an entry *less* permissive, or changes its
 *     frame, it flushes. Never cached: a translation that was not present. Translations are forgotten at the HAL's will.
 *  5. A thread's faults arrive trap-style: Upcalls.PageFault runs on the faulting thread's own stack below the
 *     interrupted frame, outside any signal context: it may block, take locks, fault again, and either return (the
 *     possibly edited trap frame is resumed) or never return. Vector state is saved and restored around it.
 *  6. The page-fault error code is the architecture's: bit 0 protection (1) or not present (0), bit 1 write, bit 2 user,
 *     bit 4 instruction fetch. Addresses are what the code used.
 */
#pragma once
#include <ntdef.h>

#define HAL_VERSION   1
#define HAL_PAGE_SIZE 4096u
#define HAL_FOREVER   (~0ull) /* deadline: never */

/* ---- the machine's memory ---- */
typedef struct _HAL_RUN {
    PFN_NUMBER BasePage;
    PFN_NUMBER PageCount;
    BOOLEAN Device; /* device memory: in the window, not RAM */
} HAL_RUN;

/* What a trap found and will resume; Rip, Rsp and the registers may be edited by the upcall. */
typedef struct _HAL_TRAP_FRAME {
    ULONG64 Rax, Rbx, Rcx, Rdx, Rsi, Rdi, Rbp, R8, R9, R10, R11, R12, R13, R14, R15;
    ULONG64 Vector;       /* architecture's number: 14 page fault, 13 general protection, 6 undefined, 3 breakpoint... */
    ULONG64 ErrorCode;    /* see 6 */
    ULONG64 FaultAddress; /* vector 14: the address used; else 0 */
    ULONG64 Rip, Cs, EFlags, Rsp, Ss; /* in the order iretq wants them */
} HAL_TRAP_FRAME;

/* Enough of a context to walk a stack: what a trap frame or a capture yields. */
typedef struct _HAL_CONTEXT {
    ULONG64 Rip, Rsp, Rbp, Rbx, R12, R13, R14, R15, Rdi, Rsi;
} HAL_CONTEXT;

struct _HAL_IO;
typedef struct _HAL_UPCALLS {
    /* A fault that the page tables do not satisfy, or an address outside the ranges (the core decides). See 5. */
    VOID (*PageFault)(HAL_TRAP_FRAME *Frame);
    /* Any other fault: divide, breakpoint, undefined instruction, privileged instruction, int 0x29... See 5. */
    VOID (*Trap)(HAL_TRAP_FRAME *Frame);
    /* The time asked for with HalSetClock has come. Runs on the HAL's clock thread, which is attached. */
    VOID (*Clock)(VOID);
    /* First kernel call of a thread that is not attached: the core gives it a KTHREAD (it may start the system). */
    VOID (*AttachThread)(VOID);
    /* A host thread that was attached ends. */
    VOID (*DetachThread)(PVOID Thread);
    /* Steps a context out of code the host's unwinder cannot know (a PE image); FALSE if Rip is not such code. */
    BOOLEAN (*UnwindForeign)(HAL_CONTEXT *Context);
    /* A transfer given to HalSubmitIo has ended. Runs on a thread of the HAL, which is attached; once for each, in any order,
     * for several at the same time. It does not wait; it may submit. NULL: no device is opened. */
    VOID (*IoDone)(struct _HAL_IO *Io);
} HAL_UPCALLS;

#define HAL_IO_ENGINE_AUTO     0u
#define HAL_IO_ENGINE_QUEUE    1u /* the host's own submission queue (io_uring) */
#define HAL_IO_ENGINE_THREADS  2u /* a pool of threads that make blocking transfers */
#define HAL_IO_ENGINE_SCRIPTED 3u /* a test says when */

typedef struct _HAL_MACHINE {
    ULONG Version; /* HAL_VERSION */
    const HAL_RUN *Runs;
    ULONG RunCount;
    ULONG64 SystemBytes; /* size of the kernel's address range, a multiple of 1 GiB */
    ULONG64 UserBytes;   /* size of the user address range, a multiple of 1 GiB */
    ULONG TlbEntries;    /* 0: the HAL's own bound */
    HAL_UPCALLS Upcalls;
    ULONG IoEngine; /* HAL_IO_ENGINE_: which way transfers go; AUTO: the best the host allows */
} HAL_MACHINE;

/* What the machine turned out to be; filled by HalStartMachine, constant until HalStopMachine. */
typedef struct _HAL_FACTS {
    ULONG_PTR WindowBase;            /* virtual address of physical address 0 in the window */
    ULONG_PTR SystemBase, SystemEnd; /* the kernel's range: [SystemBase, SystemEnd), 1 GiB aligned, bit 63 may be 0 */
    ULONG_PTR UserBase, UserEnd;     /* the user range; below the kernel's */
    ULONG TlbEntries;
    ULONG HostProcessors;
    ULONG StackBytes; /* what a thread's stack needs at least here (sanitizers need more) */
    ULONG IoEngine;   /* HAL_IO_ENGINE_, not AUTO, once a device is open */
} HAL_FACTS;
extern HAL_FACTS HalFacts;

/* Builds the machine: RAM of zeroes in the runs named, ranges chosen, MMU without tables (every access there faults).
 * Blocks; once per process until HalStopMachine. STATUS_INVALID_PARAMETER (version, runs overlap or unsorted, sizes),
 * STATUS_NO_MEMORY (the host has no such memory), STATUS_CONFLICTING_ADDRESSES (no free range). */
NTSTATUS HalStartMachine(const HAL_MACHINE *Machine);
/* Takes the machine down; every thread but the caller must have left it. Blocks. */
VOID HalStopMachine(VOID);

static inline PVOID HalWindow(PFN_NUMBER Page)
{
    return (PVOID)(HalFacts.WindowBase + (Page << 12));
}
static inline PFN_NUMBER HalWindowPage(const volatile VOID *Va)
{
    return ((ULONG_PTR)Va - HalFacts.WindowBase) >> 12;
}
static inline BOOLEAN HalIsSystemAddress(ULONG_PTR Va)
{
    return Va - HalFacts.SystemBase < HalFacts.SystemEnd - HalFacts.SystemBase;
}
static inline BOOLEAN HalIsUserAddress(ULONG_PTR Va)
{
    return Va - HalFacts.UserBase < HalFacts.UserEnd - HalFacts.UserBase;
}

/* ---- MMU ---- */
/* Makes the table whose top level is frame Root the one walked for the kernel's range by every thread, and for the user range by
 * threads that are in no address space; drops all user translations. Root 0: none. */
VOID HalSetRootTable(PFN_NUMBER Root);
/* An address space: a part of the user range with a table of its own, which is walked for the user addresses of the threads that
 * are in it. The storage is the core's, outside the simulated ranges; it writes Root, Low, High and Sweeps before HalAddAddressSpace. Parts of
 * two spaces do not overlap. */
typedef struct _HAL_ADDRESS_SPACE {
    PFN_NUMBER Root;
    ULONG_PTR Low, High;    /* multiples of 1 GiB within the user range */
    BOOLEAN Sweeps;         /* who enters it finds no translations of other spaces cached */
    volatile LONG Running;  /* the HAL's: threads that are in it */
    volatile LONG64 Cached; /* the HAL's: pages of the part with a cached translation */
} HAL_ADDRESS_SPACE, *PHAL_ADDRESS_SPACE;
VOID HalAddAddressSpace(PHAL_ADDRESS_SPACE Space);
/* No thread is in it any more. */
VOID HalRemoveAddressSpace(PHAL_ADDRESS_SPACE Space);
/* The calling thread leaves the space it is in and enters Space (NULL: none). A space that its last thread left has no cached
 * translations, so that a thread of another space meets a fault there; while some thread is in it, its translations serve all,
 * until a thread enters a space that sweeps. */
VOID HalActivateAddressSpace(PHAL_ADDRESS_SPACE Space);
/* Forgets the cached translations of Pages pages from Va, on every processor, before it returns. */
VOID HalFlushTb(PVOID Va, SIZE_T Pages);
/* All of them, but pinned ones that the tables still bear out. */
VOID HalFlushEntireTb(VOID);
/* Loads the present translations of the range now, in runs as large as the frames are contiguous. A hint, except with
 * HAL_FILL_PINNED: those stay until flushed, so that code and stacks there never fault; STATUS_NO_MEMORY if the bound on
 * mappings is reached, STATUS_INVALID_ADDRESS if an entry is not present. A fill counts as an access: Accessed is set,
 * and by a pinned one Dirty too where writing is allowed. A fault brings neighbours along only if their Accessed (and
 * Dirty) bits are set already: the entries of memory that is always resident are best made with both. */
#define HAL_FILL_PINNED 1u
#define HAL_FILL_WANTED 2u /* all of it will be touched soon: the host's memory behind it may as well come now */
NTSTATUS HalFillTb(PVOID Va, SIZE_T Pages, ULONG Flags);
typedef struct _HAL_TB_STATISTICS {
    ULONG64 Fills, FilledPages, Flushes, FlushedPages, Evictions, Mappings, PeakMappings, Faults;
} HAL_TB_STATISTICS;
VOID HalQueryTb(HAL_TB_STATISTICS *Statistics);
/* Revocable translations: of leaf entries with this bit, which is otherwise the core's. The machine remembers which of them it has
 * cached, so that all can be forgotten at the price of those used since the last time, however many the tables hold. A pinned
 * translation is not revocable. */
#define HAL_PTE_REVOCABLE (1ull << 55)
/* Forgets every cached revocable translation, on every processor, before it returns; returns the pages. Nanoseconds if there is
 * none. */
ULONG64 HalRevokeTb(VOID);
/* While a thread denies them, it loads no revocable translation: an access of its own that none is cached for is a page fault
 * (bit 0 of the error code clear), whatever the tables say. Other threads load them as ever. One byte of thread-local storage. */
extern _Thread_local volatile BOOLEAN HalpDenyRevocable __attribute__((tls_model("initial-exec")));
static inline VOID HalDenyRevocable(BOOLEAN Deny)
{
    HalpDenyRevocable = Deny;
}
/* Walks the tables as the MMU would for the calling thread, without setting bits: TRUE and the physical address if Va is present. */
BOOLEAN HalTranslate(ULONG_PTR Va, PHYSICAL_ADDRESS *Physical);
/* TRUE if Length bytes at Va, outside the simulated ranges, can be read (or written) without a fault. May be slow. */
BOOLEAN HalProbeHostMemory(const VOID *Va, SIZE_T Length, BOOLEAN Write);
/* Zeroes / gives RAM frames back to the host (they read as zero afterwards). */
VOID HalZeroPages(PFN_NUMBER Page, SIZE_T Count);
VOID HalDiscardPages(PFN_NUMBER Page, SIZE_T Count);

/* ---- threads ---- */
typedef struct _HAL_THREAD *PHAL_THREAD; /* opaque */
/* The current thread's slot for the core: NULL until HalSetCurrentThread. One load from thread-local storage. */
extern _Thread_local PVOID HalpCurrentThread __attribute__((tls_model("initial-exec")));
static inline PVOID HalCurrentThread(VOID)
{
    return HalpCurrentThread;
}
/* Prepares the calling host thread for traps (alternate stack) and stores the slot. Value NULL detaches. */
NTSTATUS HalSetCurrentThread(PVOID Value);
/* The calling thread has a user's rights from now on, or the kernel's: as a user its accesses obey the user bits of the tables, wherever its
 * code lies. An upcall runs with the kernel's rights, and returning from it gives the user's back. A translation that is cached serves
 * both (see HalFlushEntireTb). */
VOID HalSetUserMode(BOOLEAN User);
/* The base of gs for the calling thread: what binary drivers see as their KPCR. */
VOID HalSetPcr(PVOID Pcr);
/* Starts a thread on the given stack (NULL: one of the host's). Blocks. The thread is not attached until it calls
 * HalSetCurrentThread. STATUS_INSUFFICIENT_RESOURCES. */
NTSTATUS HalCreateThread(VOID (*Start)(PVOID), PVOID Argument, PVOID StackBase, SIZE_T StackBytes, PHAL_THREAD *Thread);
/* Waits until the thread has left its stack, and frees the handle. Blocks. */
VOID HalJoinThread(PHAL_THREAD Thread);
/* The calling thread's stack: [*Low, *High). Of one that HalCreateThread was given in the kernel's range, the part that the thread's
 * own calls use: High is a multiple of the page size. */
VOID HalQueryStack(ULONG_PTR *Low, ULONG_PTR *High);
/* Calls Function on a stack of the machine's own. All that the thread has left on the stack it comes from lies at StackPointer or above
 * (and below High of HalQueryStack); until Function returns the machine touches none of [Low, High), which need not even be
 * present, if it was given to HalCreateThread. Not nested. FALSE, and nothing was called: there is no memory for it. */
BOOLEAN HalCallOffStack(VOID (*Function)(PVOID Argument, ULONG_PTR StackPointer), PVOID Argument);
/* Ends the calling thread (it was made by HalCreateThread). */
VOID HalExitThread(VOID) __attribute__((noreturn));
/* Blocks while *Word == Expected, until woken, the deadline (HalQueryTime units) passes, or spuriously.
 * TRUE unless the deadline passed. */
BOOLEAN HalWait(volatile LONG *Word, LONG Expected, ULONG64 Deadline);
/* Wakes up to Count threads that wait on Word. */
VOID HalWake(volatile LONG *Word, ULONG Count);
VOID HalYield(VOID);
static inline VOID HalPause(VOID)
{
    __builtin_ia32_pause();
}

/* ---- block devices: page files ----
 * A device is a file of the host, of a size that the host has promised to store: writing inside it does not run out of
 * space. Transfers are whole pages at page offsets. */
typedef struct _HAL_DEVICE *PHAL_DEVICE; /* opaque */
/* Memory a transfer moves: page-aligned, whole pages, in the window (so that it never faults). */
typedef struct _HAL_SPAN {
    PVOID Base;
    SIZE_T Bytes;
} HAL_SPAN;
#define HAL_IO_MAX_SPANS 64u
typedef struct _HAL_IO {
    PHAL_DEVICE Device;
    ULONG64 Offset;  /* in the device, bytes */
    HAL_SPAN *Spans; /* 1 .. HAL_IO_MAX_SPANS; the HAL may change them */
    ULONG SpanCount;
    BOOLEAN Write;
    PVOID Context;       /* the caller's */
    NTSTATUS Status;     /* result */
    ULONG64 Information; /* result: bytes moved from the beginning; fewer than asked only if Status says why, except where the
                            device itself lies (an injected short transfer) */
    ULONG64 Reserved[8]; /* the HAL's, from the call to the end of the transfer */
} HAL_IO;
typedef struct _HAL_DEVICE_OPTIONS {
    const CHAR *Path; /* the host's name; nothing may be there */
    ULONG64 Bytes;    /* multiple of the page size, not 0 */
    ULONG Flags;      /* HAL_DEVICE_ */
} HAL_DEVICE_OPTIONS;
#define HAL_DEVICE_KEEP     1u /* the file keeps its name; else it is gone with the process */
#define HAL_DEVICE_BUFFERED 2u /* through the host's cache even where that can be passed by */
/* Creates a device. Blocks. STATUS_OBJECT_NAME_COLLISION, STATUS_OBJECT_PATH_NOT_FOUND, STATUS_OBJECT_NAME_INVALID,
 * STATUS_ACCESS_DENIED, STATUS_DISK_FULL, STATUS_INVALID_PARAMETER, STATUS_INSUFFICIENT_RESOURCES, STATUS_NOT_SUPPORTED (the
 * engine asked for is not to be had), STATUS_IO_DEVICE_ERROR. */
NTSTATUS HalOpenBlockDevice(const HAL_DEVICE_OPTIONS *Options, PHAL_DEVICE *Device);
/* No transfer may be under way. Blocks. All are closed before HalStopMachine. */
VOID HalCloseBlockDevice(PHAL_DEVICE Device);
/* Makes the device larger; transfers may be under way. Blocks. STATUS_DISK_FULL, STATUS_INVALID_PARAMETER (smaller). */
NTSTATUS HalGrowBlockDevice(PHAL_DEVICE Device, ULONG64 Bytes);
/* Whether transfers pass the host's cache by. */
BOOLEAN HalIsDeviceDirect(PHAL_DEVICE Device);
/* Starts a transfer; it ends with Upcalls.IoDone, never inside this call. Always succeeds: an error is the transfer's. The
 * structure and its spans are the HAL's until then. STATUS_IO_DEVICE_ERROR, STATUS_DISK_FULL, STATUS_END_OF_FILE (beyond the
 * device), STATUS_INVALID_PARAMETER, STATUS_INSUFFICIENT_RESOURCES. */
VOID HalSubmitIo(HAL_IO *Io);
/* The same on the calling thread, without upcall. Blocks. */
VOID HalTransferIo(HAL_IO *Io);
/* Makes transfers fail, for tests: of those that the rule is about, After pass, then Count (0: all) are hit. */
typedef enum _HAL_IO_FAULT_KIND {
    HalIoReadError,  /* STATUS_IO_DEVICE_ERROR, nothing read */
    HalIoWriteError, /* STATUS_IO_DEVICE_ERROR, nothing written */
    HalIoShortRead,  /* success, but only the first half of the pages (rounded down) is there */
    HalIoNoSpace,    /* a write: STATUS_DISK_FULL */
    HalIoDelay,      /* any: ends Value nanoseconds later */
    HalIoTornWrite,  /* success, but only the first half of the pages (rounded down) was written */
    HalIoCorrupt,    /* a read: success, with one bit of page Value (modulo the pages read) wrong */
    HalIoFaultKinds
} HAL_IO_FAULT_KIND;
typedef struct _HAL_IO_FAULT {
    HAL_IO_FAULT_KIND Kind;
    PHAL_DEVICE Device;    /* NULL: any */
    ULONG64 Offset, Bytes; /* transfers that touch this part of the device; Bytes 0: any */
    ULONG64 After, Count, Value;
} HAL_IO_FAULT;
/* Adds a rule (up to 16: else STATUS_INSUFFICIENT_RESOURCES); NULL takes all back. A rule goes when its count is used up. */
NTSTATUS HalInjectIoFault(const HAL_IO_FAULT *Fault);
/* Transfers that a rule has hit since the machine was started. */
ULONG64 HalQueryIoFaults(VOID);
/* Compresses one page for at most Bytes bytes; returns how many it took, 0: does not fit. Scratch: HAL_CODEC_BYTES, 16-byte
 * aligned. Both calls may use vector registers. */
#define HAL_CODEC_BYTES 32768u
ULONG HalCompressPage(const VOID *Page, PVOID Target, ULONG Bytes, PVOID Scratch);
/* The reverse; FALSE: Source does not hold a page. */
BOOLEAN HalDecompressPage(const VOID *Source, ULONG Bytes, PVOID Page);

/* ---- time ---- */
/* Monotonic nanoseconds; interrupt time. The scripted HAL's tests own it. */
ULONG64 HalQueryTime(VOID);
/* 100 ns units since 1601-01-01 UTC. */
ULONG64 HalQuerySystemTime(VOID);
/* Upcalls.Clock is called once when HalQueryTime reaches Deadline; replaces the earlier one; HAL_FOREVER cancels. */
VOID HalSetClock(ULONG64 Deadline);
ULONG64 HalQueryEntropy(VOID);

/* ---- console, halt, self-knowledge ---- */
/* Writes bytes to the console (stderr), whole. The bytes may lie in pageable memory of the kernel's range only if present. */
VOID HalPrint(const CHAR *Text, SIZE_T Length);
/* Ends the process as abort() does. */
VOID HalHalt(VOID) __attribute__((noreturn));
/* Return addresses, innermost first, from the given context or (NULL) from the caller's caller. Returns the count.
 * HAL_STACK_FAST follows frame pointers only and takes tens of nanoseconds; else the unwinder is asked (microseconds). */
#define HAL_STACK_FAST 1u
ULONG HalCaptureStack(const HAL_CONTEXT *From, ULONG_PTR *Frames, ULONG Max, ULONG Flags);
/* Unwinds one frame of host (ELF) code, restoring callee-saved registers; FALSE at the end or where it cannot. Blocks. */
BOOLEAN HalUnwindFrame(HAL_CONTEXT *Context);

/* The compiler's own four, which the machine supplies: memcpy memmove memset memcmp. */
