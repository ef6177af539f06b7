/*
 * ntmm.h - the host-side API: start and stop the system, options, catch a bug check, report.
 *
 * A program needs none of it to use the kernel's functions: the first kernel call starts the system from the
 * environment variable NTMM_OPTIONS. This header is for programs that want to choose options themselves, to expect a
 * bug check (unit tests), or to run drivers. It includes nothing of the kernel's headers and its names are snake_case.
 *
 * Every function may be called from any thread of the process. Failures are return values; ntmm_error() then has the
 * reason as one sentence for a person. SPDX-License-Identifier: MIT
 */
#ifndef NTMM_H
#define NTMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#define NTMM_API __attribute__((visibility("default")))

#define NTMM_PATH_BYTES  1024
#define NTMM_PATHS_BYTES 4096

/* How page files are read and written: the best the host allows; its io_uring; a pool of threads. */
typedef enum ntmm_io { NTMM_IO_AUTO, NTMM_IO_URING, NTMM_IO_THREADS } ntmm_io;

/* When the kernel stack of a thread that waits with UserMode leaves RAM: when memory is short, at once, never. */
typedef enum ntmm_swap_stacks { NTMM_SWAP_AUTO, NTMM_SWAP_ALWAYS, NTMM_SWAP_NEVER } ntmm_swap_stacks;

/* What a system is started with. Fill with ntmm_default_options() first, then change what matters.
 * A limit of 0 means the default for the RAM. */
typedef struct ntmm_options {
    size_t struct_size;              /* sizeof(ntmm_options), set by ntmm_default_options */
    uint64_t ram;                    /* ram=       bytes of RAM, 4 MiB to 1 TiB; default 1 GiB */
    char pagefile[NTMM_PATHS_BYTES]; /* pagefile=  up to sixteen page files to create, PATH[:SIZE[:MAXIMUM]];...; empty: none */
    uint64_t pagefile_size;          /* pagefile_size=  bytes of those that name no size; default 256 MiB if there is one */
    uint64_t pagefile_max;           /* pagefile_max=  to how many bytes those that name none may grow; 0: they do not */
    bool pagefile_keep;              /* pagefile_keep=  page files keep their names; else they are gone with the process */
    bool pagefile_check;             /* pagefile_check=  a checksum for each page in them; default 1 in debug builds */
    uint64_t compression;       /* compression=  bytes of RAM for pages kept compressed before any is written; 0: none, 1: an
                                       eighth of RAM */
    uint32_t io;                /* io=        how page files are read and written: ntmm_io */
    uint32_t cpus;              /* cpus=      processors, 1 to 64; default: those of the host, at least 2 */
    uint32_t nodes;             /* nodes=     NUMA nodes that RAM and processors are divided into, 1 to 16; default 1 */
    char node_ram[160];         /* node_ram=  sizes of their parts of RAM, as 48M:16M; empty: equal parts */
    uint32_t verifier;          /* verifier=  Driver Verifier's mask; default 0 */
    char verifier_drivers[256]; /* verifier_drivers=  names joined by '+'; empty: all */
    uint32_t special_pool_tag; /* special_pool_tag=  a tag ('?' and '*' allowed), or a size class: only these in special pool */
    bool special_pool_start;   /* special_pool_start=  blocks at the start of their page: underruns fault */
    uint32_t special_pool_sample; /* special_pool_sample=  one allocation in so many is special pool's; 0: none */
    uint32_t special_pool_rate;   /* special_pool_rate=  at most so many samples a second, after a burst; 0: no bound */
    bool pool_checks;             /* pool_checks=  slack and freed blocks are filled and checked; false with verifier=none */
    uint32_t fault_probability;   /* fault_probability=  low_resources: of 10,000; default 600 */
    uint32_t fault_delay;         /* fault_delay=  milliseconds without faults after the start */
    char fault_tags[128];         /* fault_tags=  tags joined by '+'; empty: all */
    uint64_t seed;                /* seed=      of everything random; 0: a new one each time; default 1 */
    uint32_t stacks;              /* stacks=    frames kept of the stacks that allocate and free a block, 0 to 16 */
    uint32_t tlb;                 /* tlb=       entries of the translation buffer; 0: the machine's own bound */
    uint64_t nonpagedpool;        /* nonpagedpool=  limit in bytes of nonpaged pool ... */
    uint64_t pagedpool;           /* pagedpool= */
    uint64_t systemptes;          /* systemptes=    (bytes of address space) */
    uint64_t specialpool;         /* specialpool= */
    uint64_t images;              /* images=        driver images */
    uint64_t kernelstacks;        /* kernelstacks= */
    uint32_t swap_stacks;         /* swap_stacks=   ntmm_swap_stacks: when stacks of threads in UserMode waits leave RAM */
    char drive[NTMM_PATH_BYTES];  /* drive=     folder that drivers see as drive C:; empty: there is no drive */
    bool iommu;                   /* iommu=     devices see only what is mapped for them; anything else is 0xE6/0x26 */
    bool track_ptes;              /* track_ptes=  system PTEs that run out are 0xD8, with the list of their holders */
    bool keep; /* keep=      freed pages of the pools stay mapped for reuse, for a second or two; default true */
    bool json; /* json=      print a bug check as one line of JSON instead of the block */
} ntmm_options;

/* The defaults. Never fails. */
NTMM_API void ntmm_default_options(ntmm_options *options);

/* Reads "key=value,key=value" over what *options already holds. Sizes take K, M, G or T (powers of 1,024); numbers may
 * be hexadecimal (0x...). verifier= takes a mask, or the names that ntmm_option_help() lists joined by '+'.
 * 0, or -1 for an unknown key or a bad value: ntmm_error() names it and the valid ones, and *options is unchanged. */
NTMM_API int ntmm_parse_options(const char *text, ntmm_options *options);
/* One key and its value; as ntmm_parse_options. */
NTMM_API int ntmm_set_option(ntmm_options *options, const char *key, const char *value);
/* The Nth option's key, the form of its value and what it means; NULL after the last. */
NTMM_API const char *ntmm_option_help(unsigned index, const char **value, const char **meaning);

/* Starts the system; the caller becomes a thread of the System process at PASSIVE_LEVEL. options NULL: NTMM_OPTIONS
 * over the defaults. 0; or -1 if it runs already, an option does not do (RAM smaller than the system needs, a page file
 * that cannot be created), or the host has no room: ntmm_error() says which, and nothing is left behind.
 * The first kernel call does ntmm_start(NULL) if nobody did; when that fails it prints the sentence and exits with 2. */
NTMM_API int ntmm_start(const ntmm_options *options);
/* Takes the system down and gives everything back. The caller must be the only thread that still uses it: threads that
 * the driver made have ended, others have left. 0; -1 if it does not run. It can be started again. */
NTMM_API int ntmm_stop(void);
/* True between start and stop. */
NTMM_API bool ntmm_running(void);
/* The options the system runs with, defaults filled in. Only while it runs. */
NTMM_API const ntmm_options *ntmm_running_options(void);

/* Why the calling thread's last failed call failed; one sentence, without a newline. Valid until its next failure. */
NTMM_API const char *ntmm_error(void);
NTMM_API const char *ntmm_version(void);

#define NTMM_PICTURE         80
#define NTMM_MARK_BLOCK      'b' /* asked for by the owner */
#define NTMM_MARK_SLACK      's' /* behind it, up to the next block, as the pool filled it */
#define NTMM_MARK_FREED      'f' /* of a block that was freed */
#define NTMM_MARK_DAMAGED    '!' /* slack or freed, and overwritten */
#define NTMM_MARK_OUTSIDE    '.' /* not the block's */
#define NTMM_MARK_UNREADABLE '?'
#define NTMM_MARK_LINK       'l' /* Flink or Blink of a list entry, whose neighbour leads back */
#define NTMM_MARK_WRONG_LINK 'x' /* one whose neighbour does not */

#define NTMM_LINKS 4
/* A structure that a fast fail (bug check 0x139) is about: a list entry that was compared with its neighbours, or what a register held. */
typedef struct ntmm_link {
    char name[12]; /* "entry", "Flink", "Blink" (of the entry), "beside it"; "rbx" */
    uint64_t address;
    bool list;          /* flink and blink were read there */
    bool forward, back; /* the entry that flink, blink points to leads back here */
    uint64_t flink, blink;
} ntmm_link;

/* A bug check as data. */
typedef struct ntmm_bugcheck {
    uint32_t code; /* 0xC2 */
    uint64_t parameters[4];
    char name[64];   /* "BAD_POOL_CALLER" */
    char words[512]; /* what the code did wrong */
    uint8_t irql;
    uint32_t processor;
    uint32_t thread;  /* id */
    uint64_t address; /* the instruction to blame */
    char driver[128]; /* whose code it is: driver or program */
    char where[384];  /* "Function (file.c:12)", or as much of it as is known */
    bool off_stack;   /* no code of a driver is on the stack any more: this is what the thread called last */
    unsigned frame_count;
    uint64_t frames[32];   /* the call stack, innermost first, without the library's own frames */
    bool trapped;          /* frames[0] is the instruction that faulted, not a return address */
    const void *block;     /* the pool block concerned, or NULL */
    const void *suspect;   /* another block, an overrun of which may have done it, or NULL */
    char instruction[160]; /* the instruction that faulted: "mov dword ptr [rax+0x10], ecx: writes 4 bytes"; "": none did */
    /* The bytes around the damage, or around the address that was accessed, of a pool block; picture_count 0: nothing to see. */
    uint64_t picture_start; /* address of the first */
    unsigned picture_count;
    uint8_t picture_bytes[NTMM_PICTURE];
    uint8_t picture_marks[NTMM_PICTURE]; /* NTMM_MARK_ */
    unsigned link_count;                 /* of links: those of a corrupt list, the one it failed at first */
    ntmm_link links[NTMM_LINKS];
} ntmm_bugcheck;

/* Runs function(argument) on the calling thread. False if it returned. True if the system stopped meanwhile on this
 * thread: the bug check is in *stop (may be NULL), nothing is printed, and the thread's IRQL, exception chain and critical regions
 * are what they were. Locks and memory that the function held are not given back; the system goes on. Nests. A stop
 * on another thread is not caught. */
NTMM_API bool ntmm_catch(void (*function)(void *argument), void *argument, ntmm_bugcheck *stop);
/* Writes the block that a bug check prints (or its JSON form) as text; returns the length it needs without the
 * terminating zero. Names of functions are looked up, so this is slow. */
NTMM_API size_t ntmm_report(const ntmm_bugcheck *stop, bool json, char *text, size_t size);

/* What a bug check code and its parameters mean: several lines of text, as `ntmm explain` prints them. Parameters beyond count
 * are unknown. Returns the length needed; 0 if the code is not one we know. */
NTMM_API size_t ntmm_explain(uint32_t code, const uint64_t *parameters, unsigned count, char *text, size_t size);
/* "BAD_POOL_CALLER" for 0xC2; NULL if the code is unknown. */
NTMM_API const char *ntmm_bugcheck_name(uint32_t code);

/* Turns the Verifier's options on and off while the system runs: those that Windows changes without a restart (special pool, forced
 * IRQL checking, low resources, pool tracking, deadlock, DMA, security, miscellaneous). 0; -1: the system does not run, or another
 * option would change. */
NTMM_API int ntmm_set_verifier(uint32_t mask);

/* ---- pool quota: what drivers charge to processes ----
 * process: a process id (4: System), or 0 for the process that makes this API's requests. */
typedef struct ntmm_pool_quota {
    uint64_t used, peak; /* bytes */
    uint64_t limit;      /* 0: none */
} ntmm_pool_quota;
/* Sets the bytes of nonpaged or paged pool quota a process may use, 0: no limit (which is what every process starts with). What
 * it uses already stays. 0; -1: no such process, or the system does not run. */
NTMM_API int ntmm_set_pool_quota(uint64_t process, bool paged, uint64_t limit);
NTMM_API int ntmm_query_pool_quota(uint64_t process, bool paged, ntmm_pool_quota *quota);

/* ---- memory as it is, and over time ----
 * Pages are of 4,096 bytes. Counts are since the system was started. */
typedef struct ntmm_memory {
    /* where RAM is: the states from zeroed to active add up to ram_pages */
    uint64_t ram_pages;
    uint64_t zeroed_pages, free_pages, standby_pages, modified_pages, modified_no_write_pages, bad_pages;
    uint64_t transition_pages; /* in no working set, but held: locked, or on their way in or out */
    uint64_t active_pages;     /* the rest: working sets, nonpageable memory, the core's tables */
    uint64_t standby_by_priority[8];
    uint64_t available_pages; /* zeroed + free + standby */
    uint64_t locked_pages, nonpageable_pages, table_pages;
    uint64_t system_working_set_pages, process_working_set_pages;
    /* promises: commit.c's rules; maximum: with page files as large as they may grow */
    uint64_t committed_pages, commit_limit_pages, commit_peak_pages, commit_maximum_pages, commit_failures;
    uint64_t nonpaged_pool_pages, nonpaged_pool_peak_pages, paged_pool_pages, paged_pool_peak_pages;
    /* page faults by kind */
    uint64_t faults, demand_zero_faults, soft_faults, hard_faults, copy_on_write_faults, guard_faults, access_violations,
        collided_faults, in_page_errors;
    /* pages in and out, and the requests that moved them */
    uint64_t pages_read, page_reads, pages_written, page_writes, write_errors;
    uint64_t trimmed_pages, aged_pages, repurposed_pages, zeroed_by_thread, waits_for_pages;
    /* forced IRQL checking: raises while it was on, those that found a pageable page touched, and how many of these */
    uint64_t checked_raises, irql_trims, irql_trimmed_pages;
    /* a bit for each condition that holds; its event in \KernelObjects is set */
    uint32_t conditions;
} ntmm_memory;
/* 0; -1: the system does not run. Any thread, at any time. */
NTMM_API int ntmm_query_memory(ntmm_memory *out);
/* "LowMemoryCondition" for bit 0 and so on; NULL after the last. */
NTMM_API const char *ntmm_memory_condition(unsigned bit);

/* Memory at one moment of a series. */
typedef struct ntmm_memory_sample {
    uint64_t nanoseconds; /* since the series began */
    uint64_t zeroed_pages, free_pages, standby_pages, modified_pages, active_pages;
    uint64_t committed_pages, commit_limit_pages, nonpaged_pool_pages, paged_pool_pages;
    uint64_t system_working_set_pages, process_working_set_pages, locked_pages;
    uint64_t demand_zero_faults, soft_faults, hard_faults, pages_read, pages_written; /* since the system was started */
} ntmm_memory_sample;
#define NTMM_MEMORY_SAMPLES 256
/* Takes a sample every so many milliseconds from now on (0: no more). When 256 are there every second one goes and the interval
 * doubles, so that the series always covers the whole time. 0; -1: the system does not run. */
NTMM_API int ntmm_sample_memory(unsigned milliseconds);
/* The series so far, oldest first; returns how many. *nanoseconds (may be NULL): the interval between two. */
NTMM_API size_t ntmm_memory_samples(ntmm_memory_sample *samples, size_t max, uint64_t *nanoseconds);
/* Takes every pageable page out of the working sets, so that the next touch of it is a fault; everything: also from the lists, out
 * to the page files, so that it is a hard one. 0; -1: the system does not run. Waits for the writes. */
NTMM_API int ntmm_page_out(bool everything);

/* ---- page files ---- */
typedef struct ntmm_page_file {
    char path[NTMM_PATH_BYTES];
    bool direct, checked; /* passes the host's cache by; has checksums */
    uint64_t bytes, maximum_bytes, used_bytes, peak_bytes;
    uint64_t reads, writes, bytes_read, bytes_written;          /* transfers, and what they moved */
    uint64_t read_errors, write_errors, corrupt_pages, retries; /* transfers that failed; wrong checksums; second tries */
} ntmm_page_file;
typedef struct ntmm_page_store {
    uint64_t limit_bytes, resident_bytes;       /* of RAM, may have and has */
    uint64_t pages, compressed_bytes;           /* what it holds */
    uint64_t in, out, refused, evicted, failed; /* pages ever taken in, read back, not taken, written on, not written on */
} ntmm_page_store;
/* The page file of that number as it is now; false: the system has none, or does not run. */
NTMM_API bool ntmm_query_page_file(unsigned number, ntmm_page_file *out);
/* The compression store; false: there is none. */
NTMM_API bool ntmm_query_page_store(ntmm_page_store *out);
/* "io_uring", "threads", or "none" as long as there is no page file. */
NTMM_API const char *ntmm_io_engine(void);

/* How a transfer can go wrong. */
typedef enum ntmm_disk_fault {
    NTMM_DISK_READ_ERROR,  /* a read: STATUS_IO_DEVICE_ERROR */
    NTMM_DISK_WRITE_ERROR, /* a write: STATUS_IO_DEVICE_ERROR */
    NTMM_DISK_SHORT_READ,  /* a read: success, but only the first half of the pages is there */
    NTMM_DISK_NO_SPACE,    /* a write: STATUS_DISK_FULL */
    NTMM_DISK_DELAY,       /* any: it ends value nanoseconds later */
    NTMM_DISK_TORN_WRITE,  /* a write: success, but only the first half of the pages was written */
    NTMM_DISK_CORRUPT_READ /* a read: success, but one bit of the page that has number value (modulo those read) is wrong */
} ntmm_disk_fault;
/* Makes transfers of a page file (-1: of any) fail: of those that kind is about, after pass, then count (0: all) are hit. Up to
 * sixteen rules; the first that fits decides. 0; -1: the system has no page file, or there are sixteen rules. */
NTMM_API int ntmm_inject_disk_fault(ntmm_disk_fault kind, int page_file, uint64_t after, uint64_t count, uint64_t value);
/* Takes every rule back. */
NTMM_API void ntmm_clear_disk_faults(void);
/* Transfers hit so far. */
NTMM_API uint64_t ntmm_disk_fault_hits(void);

/* ---- drivers, part of the program or loaded from a file, and requests to devices ----
 * Statuses are NTSTATUS values: 0 is success, negative values are errors. */
struct _DRIVER_OBJECT;
struct _UNICODE_STRING;
typedef struct ntmm_driver ntmm_driver;
typedef struct ntmm_file ntmm_file;

/* Makes \Driver\<name> and its service key, calls entry as DriverEntry, then what follows on a success: reinitialisation
 * routines, and for a driver with an AddDevice routine one device, added and started. Returns the status of what failed, and *driver
 * is NULL then: the driver is gone again. */
NTMM_API int32_t ntmm_add_driver(const char *name, int32_t (*entry)(struct _DRIVER_OBJECT *, struct _UNICODE_STRING *),
                                 ntmm_driver **driver);
/* Loads a driver binary (an x64 .sys file) and does the same with its DriverEntry. Imports that are missing stop the system
 * by name when they are called. On a failure ntmm_error() has the sentence: the file is not a driver for this machine (then
 * the status is STATUS_INVALID_IMAGE_FORMAT, STATUS_INVALID_IMAGE_WIN_32, STATUS_CONFLICTING_ADDRESSES or
 * STATUS_OBJECT_NAME_NOT_FOUND), or DriverEntry failed (its status). */
NTMM_API int32_t ntmm_load_driver(const char *path, ntmm_driver **driver);
/* What a driver had not taken down when it was unloaded. */
typedef struct ntmm_leftovers {
    unsigned devices, symbolic_links, open_files, work_items, timers;
} ntmm_leftovers;
/* Calls DriverUnload, takes the driver object away, and the image if it was loaded from a file.
 * STATUS_INVALID_DEVICE_REQUEST if it has no DriverUnload: it stays. left may be NULL. */
NTMM_API int32_t ntmm_remove_driver(ntmm_driver *driver, ntmm_leftovers *left);

/* ---- a simulated bus-master device ----
 * A thread that stands for the hardware of a device: it knows no virtual addresses. device_object: the physical device object
 * that the driver gets its DMA adapter for (with iommu=1 its domain decides what the device may touch). NULL: no memory. */
typedef struct ntmm_device ntmm_device;
NTMM_API ntmm_device *ntmm_device_create(void *device_object);
/* Hands the device a job, which runs on its thread after those before it. The job may call kernel routines as an interrupt
 * service routine would, KeInsertQueueDpc for one. 0; -1: no memory. */
NTMM_API int ntmm_device_post(ntmm_device *device, void (*routine)(ntmm_device *device, void *context), void *context);
/* Waits until the device is idle. */
NTMM_API void ntmm_device_wait(ntmm_device *device);
/* Lets it finish its jobs, and ends it. */
NTMM_API void ntmm_device_destroy(ntmm_device *device);
/* What the hardware does, from any thread: reads or writes memory by logical address (without iommu=1, physical address). Where
 * nothing is, it reads ones, and what it writes is lost. */
NTMM_API void ntmm_device_read(ntmm_device *device, uint64_t logical, void *to, size_t length);
NTMM_API void ntmm_device_write(ntmm_device *device, uint64_t logical, const void *from, size_t length);
/* A device of the system DMA controller (its description has no Master) asks it to move bytes to or from memory, in the direction and
 * at the place that the driver has mapped; returns how many were moved, 0 while nothing is mapped. */
NTMM_API size_t ntmm_device_system_dma(ntmm_device *device, void *bytes, size_t length);
/* Plays the functions that the device's system DMA controller has for ConfigureAdapterChannel: called on the driver's thread with the
 * number and context it gave; returns its NTSTATUS. NULL, and until then: STATUS_NOT_IMPLEMENTED for all of them. */
NTMM_API void ntmm_device_on_configure(ntmm_device *device,
                                       int32_t (*routine)(ntmm_device *device, uint32_t function, void *context));
/* Bytes of the configuration space (up to 256 in all) that the root bus shows the device's driver by GUID_BUS_INTERFACE_STANDARD and
 * IRP_MN_READ_CONFIG; without any, it has none. PASSIVE_LEVEL. 0; -1: the device object is none of the root bus, or too many. */
NTMM_API int ntmm_device_set_config(ntmm_device *device, uint32_t offset, const void *bytes, size_t length);

/* Opens a device as a user-mode program would: "\\\\.\\Name" (or "Name") for \??\Name, or a full name such as
 * "\\Device\\Name". Sends IRP_MJ_CREATE; the driver's status. */
NTMM_API int32_t ntmm_open(const char *name, ntmm_file **file);
/* IRP_MJ_CLEANUP, and IRP_MJ_CLOSE when nothing of the driver holds the file any longer. */
NTMM_API int32_t ntmm_close(ntmm_file *file);
/* How long a request may take before it is cancelled, in milliseconds; 0, the default: for ever. A cancelled request is given
 * the same time again (at least a second); then it is left to the driver and the answer is STATUS_IO_TIMEOUT. */
NTMM_API void ntmm_set_timeout(ntmm_file *file, unsigned milliseconds);
/* Requests of a user-mode requester, at PASSIVE_LEVEL on the calling thread. The buffers are copied to user memory of the
 * simulated machine and back, so that direct and neither I/O see user addresses. *information (may be NULL) is what the driver
 * stored, 0 if the request failed before it got there. */
NTMM_API int32_t ntmm_ioctl(ntmm_file *file, uint32_t code, const void *in, size_t in_length, void *out, size_t out_length,
                            uint64_t *information);
NTMM_API int32_t ntmm_read(ntmm_file *file, void *buffer, size_t length, int64_t offset, uint64_t *information);
NTMM_API int32_t ntmm_write(ntmm_file *file, const void *buffer, size_t length, int64_t offset, uint64_t *information);

/* ---- systematic failure: every allocation fails once ----
 * A failure point is a distinct call stack that asks for pool, a mapping, locked or physical pages. A campaign runs the program's
 * function once to find them, then once for each of them with that request failing; failures make new code reachable, whose
 * requests fail in turn (after the one that led there), until nothing new appears. Each run has a process of its own. */
typedef enum ntmm_fail_outcome {
    NTMM_FAIL_HANDLED,    /* the run came to its end and left nothing behind */
    NTMM_FAIL_LEAKED,     /* pool blocks (or what the function counts) stayed */
    NTMM_FAIL_CRASHED,    /* a bug check, or the process died */
    NTMM_FAIL_HUNG,       /* did not end in time */
    NTMM_FAIL_WRONG,      /* the function said so */
    NTMM_FAIL_NOT_REACHED /* the request was not made again: the runs are not repeatable */
} ntmm_fail_outcome;

typedef struct ntmm_fail_point {
    const char *key;      /* replays this one: NTMM_FAIL keys hold for one build of the driver and of this library */
    const char *resource; /* "pool", "mapping", "lock", "pages" */
    const char *where;    /* who asked: "Function (file.c:12) <- Caller (file.c:34)" */
    const char *detail;   /* of a leak, a crash or what the function said; or "" */
    uint32_t tag;         /* of pool */
    uint64_t size;
    unsigned depth; /* 1: fails alone; more: after the failures that its key begins with */
    ntmm_fail_outcome outcome;
    bool resumed; /* the outcome was read from the state file */
} ntmm_fail_point;

typedef struct ntmm_fail_options {
    size_t struct_size;     /* sizeof(ntmm_fail_options), set by ntmm_default_fail_options */
    unsigned jobs;          /* runs side by side; 0: the host's processors */
    unsigned shard, shards; /* of a campaign split among machines: this is part shard, 1 to shards */
    const char *state;      /* a file that remembers what was done, so that an interrupted campaign goes on; NULL: none */
    const char *identity;   /* what is run, in any words: a state file of something else is refused */
    unsigned limit; /* seconds that a run may take, or ten times as long as the one without a failure took; default 60 */
    const ntmm_options *system; /* what each run's system is started with; NULL: NTMM_OPTIONS */
    bool images_only;           /* only requests with code of a loaded driver image on the stack count */
    void (*report)(const ntmm_fail_point *point, void *context);    /* for each point in the end; may be NULL */
    void (*progress)(unsigned done, unsigned known, void *context); /* may be NULL */
    void *context;
} ntmm_fail_options;
NTMM_API void ntmm_default_fail_options(ntmm_fail_options *options);

typedef struct ntmm_fail_summary {
    unsigned points, outcomes[6], resumed, runs;
    unsigned lost;     /* points that did not fit a run's table of 8,192 */
    unsigned findings; /* of the run without a failure: only what goes beyond counts as leaked */
} ntmm_fail_summary;

/* Runs the campaign. In each run the system is started, function(argument) does its work and returns NTMM_FAIL_HANDLED or
 * NTMM_FAIL_WRONG; it must not end the process. Blocks that code outside this library allocated in it and that are still live
 * afterwards, more of them than in the run without a failure, make the run NTMM_FAIL_LEAKED.
 * Calls report for each point of this shard. 0: all handled; 1: not all; -1: the system runs already, the run without a failure did
 * not end well, or the state file cannot be used: ntmm_error() says which. */
NTMM_API int ntmm_fail_each(ntmm_fail_outcome (*function)(void *argument), void *argument, const ntmm_fail_options *options,
                            ntmm_fail_summary *summary);
/* Replays one point in the calling process: the requests of the key fail from here on, once each. 0; -1: not a key. */
NTMM_API int ntmm_fail_at(const char *key);

/* ---- processes ----
 * Each has an address space of its own: its user addresses are no other's, and out of a driver's reach unless it attaches. Requests of a
 * thread that runs nobody's code are made by one process that there always is. */
typedef struct ntmm_process ntmm_process;
/* STATUS_INSUFFICIENT_RESOURCES: there are as many as the user address range has room for. */
NTMM_API int32_t ntmm_process_create(const char *name, ntmm_process **process);
/* Runs function(argument) on the calling thread as a thread of the process in user mode: ExGetPreviousMode is UserMode, kernel addresses are
 * access violations, and requests it makes are the process's. It may call ntmm_open, ntmm_close, ntmm_ioctl, ntmm_user_ioctl, ntmm_read,
 * ntmm_write, the functions below, and (with ntifs.h) the Nt and Zw services for virtual memory and sections; nothing else of the kernel's.
 * *result is what it returned, or the status of an exception that it did not handle. Several threads can run in one process. */
NTMM_API int32_t ntmm_process_run(ntmm_process *process, int32_t (*function)(void *argument), void *argument, int32_t *result);
/* A request whose pointers reach the driver as they are: user addresses of the process, or anything else that a hostile caller passes. */
NTMM_API int32_t ntmm_user_ioctl(ntmm_file *file, uint32_t code, void *in, size_t in_length, void *out, size_t out_length,
                                 uint64_t *information);
/* User memory of the process whose code the caller runs (outside of ntmm_process_run, of System): committed, zero, readable and writable.
 * NULL: none left. Freeing: STATUS_MEMORY_NOT_ALLOCATED and what else ZwFreeVirtualMemory says. */
NTMM_API void *ntmm_user_allocate(size_t bytes);
NTMM_API int32_t ntmm_user_free(void *address);
NTMM_API uint64_t ntmm_process_id(const ntmm_process *process);
/* Ends it: its handles are closed, its memory is freed. Pages that a driver still has locked are bug check 0x76. STATUS_DEVICE_BUSY: its
 * code runs on some thread; the process goes on. */
NTMM_API int32_t ntmm_process_end(ntmm_process *process, int32_t exit_status);

#ifdef __cplusplus
}
#endif
#endif
