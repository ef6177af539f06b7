/*
 * options.c - the options of a system: their keys, their defaults, and reading them from text. SPDX-License-Identifier: MIT
 *
 * One table (Keys) names every option once: its key, the form of its value, where it lives in ntmm_options and its
 * bounds. The environment variable, the command's long flags and ntmm_set_option all read it, so a key exists in all
 * three or in none. Nothing is ignored: an unknown key, a value out of bounds or trailing text is an error whose
 * sentence names the offender and the valid forms.
 *
 * Invariants:
 *  1. A failed call leaves the options as they were.
 *  2. Every field of ntmm_options but struct_size has exactly one row in Keys.
 *
 * Watch it: `ntmm run --help` prints the table; tests/unit/options_test.c.
 */
#include "host.h"
#include "paging.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB (1ull << 20)

#define LEAST_REGION 0x40000u /* mm gives a region no less than 64 pages */

typedef enum _KEY_KIND {
    KeySize,
    KeyNumber32,
    KeyNumber64,
    KeyPath,
    KeyPageFiles,
    KeyVerifier,
    KeyFlag,
    KeyStore,
    KeyIo,
    KeySwap,
    KeyText,
    KeyTag
} KEY_KIND;
static const struct {
    const char *Key;
    KEY_KIND Kind;
    size_t Offset;
    uint64_t Low, High;
    const char *Value, *Meaning;
} Keys[] = {
#define AT(field) offsetof(ntmm_options, field)
    {"ram", KeySize, AT(ram), 4 * MIB, 1ull << 40, "SIZE", "bytes of RAM, 4M to 1T (default 1G)"},
    {"pagefile", KeyPageFiles, AT(pagefile), 0, 0, "PATH[:SIZE[:MAX]][;...]",
     "page files to create, up to 16, each SIZE large and growing to MAX; the paths must be free (default none)"},
    {"pagefile_size", KeySize, AT(pagefile_size), 1 * MIB, 1ull << 44, "SIZE",
     "size of page files that name none, 1M to 16T (default 256M)"},
    {"cpus", KeyNumber32, AT(cpus), 1, 64, "N", "processors, 1 to 64 (default: the host's, at least 2)"},
    {"nodes", KeyNumber32, AT(nodes), 1, 16, "N", "NUMA nodes that RAM and processors are divided into, 1 to 16 (default 1)"},
    {"node_ram", KeyText, AT(node_ram), 0, sizeof(((ntmm_options *)0)->node_ram), "SIZE[:SIZE...]",
     "how much of RAM each node has, in proportion; 0 for a node without any (default equal parts)"},
    {"verifier", KeyVerifier, AT(verifier), 0, 0xffffffff, "NAMES|MASK",
     "Driver Verifier: a mask such as 0x209BB, or names joined by '+'; none: neither samples nor pool_checks (default 0)"},
    {"verifier_drivers", KeyText, AT(verifier_drivers), 0, sizeof(((ntmm_options *)0)->verifier_drivers), "NAMES",
     "drivers to verify, joined by '+'; 'program' is what is no driver binary (default all)"},
    {"special_pool_tag", KeyTag, AT(special_pool_tag), 0, 0xffffffff, "TAG|SIZE",
     "only this tag ('?' any letter, '*' any rest), or size class (0x20: 1 to 16 bytes, 0x30: 17 to 32), in special pool"},
    {"special_pool_start", KeyFlag, AT(special_pool_start), 0, 1, "0|1", "special pool at the start of pages: underruns fault"},
    {"special_pool_sample", KeyNumber32, AT(special_pool_sample), 0, 0x7fffffff, "N",
     "one allocation in N is special pool's though nobody asked (default 1000); 0: none"},
    {"special_pool_rate", KeyNumber32, AT(special_pool_rate), 0, 1000000000, "N",
     "at most so many of these samples a second, after a burst of 64 (default 1000); 0: no bound"},
    {"pool_checks", KeyFlag, AT(pool_checks), 0, 1, "0|1",
     "slack bytes and freed blocks are filled and checked (default 1); verifier=none is this and special_pool_sample=0"},
    {"fault_probability", KeyNumber32, AT(fault_probability), 0, 10000, "N",
     "low_resources: how many of 10,000 requests fail (default 600)"},
    {"fault_delay", KeyNumber32, AT(fault_delay), 0, 0x7fffffff, "N",
     "low_resources: milliseconds before the first (default 0)"},
    {"fault_tags", KeyText, AT(fault_tags), 0, sizeof(((ntmm_options *)0)->fault_tags), "TAGS",
     "low_resources: only these tags, joined by '+' (default all)"},
    {"seed", KeyNumber64, AT(seed), 0, ~0ull, "N", "of everything random; 0: a new one each time (default 1)"},
    {"stacks", KeyNumber32, AT(stacks), 0, 16, "N", "frames kept of each allocation and free, 0 to 16 (default 6)"},
    {"tlb", KeyNumber32, AT(tlb), 0, 32768, "N",
     "entries of the translation buffer, 16 to 32768; 0: as many as the host allows"},
    {"nonpagedpool", KeySize, AT(nonpagedpool), 0, 1ull << 40, "SIZE", "limit of nonpaged pool, 256K to 1T; 0: by the RAM"},
    {"pagedpool", KeySize, AT(pagedpool), 0, 1ull << 40, "SIZE", "limit of paged pool, 256K to 1T; 0: by the RAM"},
    {"systemptes", KeySize, AT(systemptes), 0, 1ull << 40, "SIZE",
     "address space for mappings of MDLs and devices, 256K to 1T; 0: by the RAM"},
    {"specialpool", KeySize, AT(specialpool), 0, 1ull << 40, "SIZE", "limit of special pool, 256K to 1T; 0: by the RAM"},
    {"images", KeySize, AT(images), 0, 1ull << 40, "SIZE", "address space for driver images, 256K to 1T; 0: by the RAM"},
    {"kernelstacks", KeySize, AT(kernelstacks), 0, 1ull << 40, "SIZE",
     "address space for kernel stacks, 256K to 1T; 0: by the RAM"},
    {"pagefile_max", KeySize, AT(pagefile_max), 1 * MIB, 1ull << 44, "SIZE",
     "to which page files that name no MAX may grow (default: they do not)"},
    {"pagefile_keep", KeyFlag, AT(pagefile_keep), 0, 1, "0|1",
     "page files keep their names (default 0: they go with the process)"},
    {"pagefile_check", KeyFlag, AT(pagefile_check), 0, 1, "0|1",
     "a checksum for each page in a page file (default 1 in debug builds, else 0)"},
    {"compression", KeyStore, AT(compression), 1 * MIB, 1ull << 35, "on|off|SIZE",
     "RAM for pages kept compressed before they go to a page file, 1M to 32G; on: an eighth of RAM (default off)"},
    {"io", KeyIo, AT(io), 0, 0, "auto|uring|threads", "how page files are read and written (default auto: the best there is)"},
    {"swap_stacks", KeySwap, AT(swap_stacks), 0, 0, "auto|always|never",
     "kernel stacks of threads that wait with UserMode leave RAM: when memory is short (default), at once, never"},
    {"drive", KeyPath, AT(drive), 0, 0, "FOLDER", "folder that drivers see as drive C: (default none)"},
    {"iommu", KeyFlag, AT(iommu), 0, 1, "0|1",
     "devices see only what is mapped for them, at addresses of their own; anything else stops with 0xE6"},
    {"track_ptes", KeyFlag, AT(track_ptes), 0, 1, "0|1",
     "when system PTEs run out, stop with 0xD8 and the list of their holders (Windows: TrackPtes)"},
    {"keep", KeyFlag, AT(keep), 0, 1, "0|1",
     "keep freed pages of the pools mapped for reuse (default 1; ntmm run: 0, a touch of a freed large block stops)"},
    {"json", KeyFlag, AT(json), 0, 1, "0|1", "print a bug check as one line of JSON"},
#undef AT
};

/* Windows' option bits by our names, for verifier=. */
static const struct {
    const char *Name;
    uint32_t Bits;
} VerifierNames[] = {
    {"none", 0},
    {"standard", 0x209bb},
    {"special_pool", 0x1},
    {"force_irql", 0x2},
    {"low_resources", 0x4},
    {"pool_tracking", 0x8},
    {"io", 0x10},
    {"deadlock", 0x20},
    {"dma", 0x80},
    {"security", 0x100},
    {"misc", 0x800},
    {"mdl_stack", 0x2000},
    {"mdl_driver", 0x4000},
    {"ddi", 0x20000},
    {"ddi_additional", 0x80000},
    {"code_integrity", 0x2000000},
};

void ntmm_default_options(ntmm_options *options)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
    options->ram = 1024 * MIB;
    options->nodes = 1;
    options->cpus = processors < 2 ? 2 : processors > 64 ? 64 : (uint32_t)processors;
    options->seed = 1;
    options->fault_probability = 600;
    options->special_pool_sample = 1000;
    options->special_pool_rate = 1000;
    options->pool_checks = true;
    options->stacks = 6;
#ifndef NDEBUG
    options->pagefile_check = true;
#endif
    options->keep = true;
}

const char *ntmm_option_help(unsigned index, const char **value, const char **meaning)
{
    if (index >= ARRAYSIZE(Keys))
        return NULL;
    if (value)
        *value = Keys[index].Value;
    if (meaning)
        *meaning = Keys[index].Meaning;
    return Keys[index].Key;
}

static void Append(char *List, size_t Size, const char *Text)
{
    size_t Used = strlen(List);
    snprintf(List + Used, Size - Used, "%s%s", Used ? ", " : "", Text);
}

/* A whole number with an optional size suffix; FALSE for anything else, or if it does not fit 64 bits. */
BOOLEAN HostParseNumber(const char *Text, BOOLEAN Suffix, uint64_t *Number)
{
    char *End;
    unsigned Shift = 0;
    if (Text[0] < '0' || Text[0] > '9')
        return FALSE;
    errno = 0;
    *Number = strtoull(Text, &End, Text[0] == '0' && (Text[1] | 32) == 'x' ? 16 : 10);
    if (errno || End == Text)
        return FALSE;
    if (Suffix && *End) {
        switch (*End | 32) {
        case 'k':
            Shift = 10;
            break;
        case 'm':
            Shift = 20;
            break;
        case 'g':
            Shift = 30;
            break;
        case 't':
            Shift = 40;
            break;
        default:
            return FALSE;
        }
        End++;
        if ((*End | 32) == 'b')
            End++;
    }
    if (*End || (Shift && *Number >> (64 - Shift)))
        return FALSE;
    *Number <<= Shift;
    return TRUE;
}

/* FALSE: the WrongLength characters at Wrong are no name. */
static BOOLEAN ParseVerifier(const char *Text, uint64_t *Mask, const char **Wrong, size_t *WrongLength)
{
    *Wrong = Text;
    *WrongLength = strlen(Text);
    if (HostParseNumber(Text, FALSE, Mask))
        return *Mask <= 0xffffffff;
    *Mask = 0;
    for (;;) {
        size_t Length = strcspn(Text, "+"), I;
        for (I = 0; I < ARRAYSIZE(VerifierNames); I++)
            if (strlen(VerifierNames[I].Name) == Length && !memcmp(VerifierNames[I].Name, Text, Length))
                break;
        if (I == ARRAYSIZE(VerifierNames)) {
            *Wrong = Text;
            *WrongLength = Length;
            return FALSE;
        }
        *Mask |= VerifierNames[I].Bits;
        if (!Text[Length])
            return TRUE;
        Text += Length + 1;
    }
}

int ntmm_set_option(ntmm_options *options, const char *key, const char *value)
{
    char List[512] = "";
    for (size_t I = 0; I < ARRAYSIZE(Keys); I++) {
        uint64_t Number = 0;
        const char *Wrong = "";
        size_t WrongLength = 0;
        BOOLEAN Good;
        char *Field = (char *)options + Keys[I].Offset;
        if (strcmp(key, Keys[I].Key)) {
            Append(List, sizeof List, Keys[I].Key);
            continue;
        }
        if (Keys[I].Kind == KeyPath) {
            if (!*value)
                return HostFail("option %s: a path is missing (%s=PATH)", key, key);
            if (strlen(value) >= NTMM_PATH_BYTES)
                return HostFail("option %s: the path is longer than %d bytes", key, NTMM_PATH_BYTES - 1);
            strcpy(Field, value);
            return 0;
        }
        if (Keys[I].Kind == KeyPageFiles) {
            HOST_PAGE_FILE Files[MI_MAX_PAGE_FILES];
            unsigned Count;
            if (!*value)
                return HostFail("option %s: a path is missing (%s=PATH)", key, key);
            if (strlen(value) >= sizeof options->pagefile)
                return HostFail("option %s: more than %zu bytes", key, sizeof options->pagefile - 1);
            if (HostReadPageFiles(value, Files, &Count) < 0)
                return -1;
            strcpy(Field, value);
            return 0;
        }
        if (Keys[I].Kind == KeyIo || Keys[I].Kind == KeySwap) {
            static const char *const Io[] = {"auto", "uring", "threads"}, *const Swap[] = {"auto", "always", "never"};
            const char *const *Names = Keys[I].Kind == KeyIo ? Io : Swap;
            for (uint32_t J = 0; J < ARRAYSIZE(Io); J++) {
                if (!strcmp(value, Names[J])) {
                    *(uint32_t *)Field = J;
                    return 0;
                }
            }
            return HostFail("option %s: '%s' will not do; %s=%s, %s", key, value, key, Keys[I].Value, Keys[I].Meaning);
        }
        if (Keys[I].Kind == KeyStore && (!strcmp(value, "on") || !strcmp(value, "off"))) {
            *(uint64_t *)Field = value[1] == 'n';
            return 0;
        }
        if (Keys[I].Kind == KeyText) {
            if (strlen(value) >= Keys[I].High)
                return HostFail("option %s: the text is longer than %d bytes", key, (int)Keys[I].High - 1);
            strcpy(Field, value);
            return 0;
        }
        if (Keys[I].Kind == KeyTag && (value[0] < '0' || value[0] > '9' || !HostParseNumber(value, FALSE, &Number))) {
            char Tag[4] = {' ', ' ', ' ', ' '};
            uint32_t Value;
            if (!*value || strlen(value) > 4)
                return HostFail("option %s: '%s' is neither a tag of one to four characters nor a number", key, value);
            memcpy(Tag, value, strlen(value));
            memcpy(&Value, Tag, 4);
            memcpy(Field, &Value, 4);
            return 0;
        }
        Good = Keys[I].Kind == KeyVerifier
                   ? ParseVerifier(value, &Number, &Wrong, &WrongLength)
                   : HostParseNumber(value, Keys[I].Kind == KeySize || Keys[I].Kind == KeyStore, &Number);
        if (Good && !strcmp(key, "tlb") && Number && Number < 16)
            Good = FALSE;
        if (Good && Keys[I].Kind == KeySize && Keys[I].Low == 0 && Number && Number < LEAST_REGION)
            Good = FALSE;
        if (!Good || Number < Keys[I].Low || Number > Keys[I].High) {
            if (Keys[I].Kind == KeyVerifier) {
                List[0] = 0;
                for (size_t J = 0; J < ARRAYSIZE(VerifierNames); J++)
                    Append(List, sizeof List, VerifierNames[J].Name);
                return HostFail("option verifier: '%.*s' is neither a mask nor one of the names, which '+' joins: %s",
                                (int)WrongLength, Wrong, List);
            }
            return HostFail("option %s: '%s' will not do; %s=%s, %s", key, value, key, Keys[I].Value, Keys[I].Meaning);
        }
        if (Keys[I].Kind == KeyVerifier && HostCheckVerifier((uint32_t)Number) < 0)
            return -1;
        switch (Keys[I].Kind) {
        case KeyFlag:
            *(bool *)Field = Number != 0;
            break;
        case KeyNumber32:
        case KeyVerifier:
        case KeyTag:
            *(uint32_t *)Field = (uint32_t)Number;
            if (Keys[I].Kind == KeyVerifier && !strcmp(value, "none")) { /* nothing that a verifier adds */
                options->special_pool_sample = 0;
                options->pool_checks = false;
            }
            break;
        default:
            *(uint64_t *)Field = Number;
            break;
        }
        return 0;
    }
    return HostFail("unknown option '%s'; the options are %s", key, List);
}

int ntmm_parse_options(const char *text, ntmm_options *options)
{
    ntmm_options New = *options;
    char Pair[NTMM_PATHS_BYTES + 64], *Equals;
    while (*text) {
        size_t Length = strcspn(text, ",");
        if (Length >= sizeof Pair)
            return HostFail("option '%.40s...' is too long", text);
        memcpy(Pair, text, Length);
        Pair[Length] = 0;
        text += Length + (text[Length] == ',');
        if (!Length)
            continue;
        Equals = strchr(Pair, '=');
        if (!Equals) {
            /* The sentence for an unknown key is the better one if there is no such key. */
            if (ntmm_set_option(&New, Pair, "") < 0 && strncmp(ntmm_error(), "unknown", 7) == 0)
                return -1;
            return HostFail("option '%s' has no value; write %s=VALUE", Pair, Pair);
        }
        *Equals = 0;
        if (ntmm_set_option(&New, Pair, Equals + 1) < 0)
            return -1;
    }
    *options = New;
    return 0;
}
