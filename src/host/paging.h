/*
 * paging.h - page files as the host layer has them: read from options, created, asked about. SPDX-License-Identifier: MIT
 */
#pragma once
#include "host.h"
#include "mm/pagefile.h"

typedef struct _HOST_PAGE_FILE {
    char Path[NTMM_PATH_BYTES];
    uint64_t Bytes, MaximumBytes; /* 0: not named */
} HOST_PAGE_FILE;

/* Reads PATH[:SIZE[:MAXIMUM]];... into Files (MI_MAX_PAGE_FILES of them). -1: ntmm_error() names what is wrong. */
int HostReadPageFiles(const char *Text, HOST_PAGE_FILE *Files, unsigned *Count);
/* Whether the options about page files go together; fills in their defaults. */
int HostCheckPageFiles(ntmm_options *Options);
/* The step of a start: the store and the page files. On a failure ntmm_error() has the sentence. */
NTSTATUS HostCreatePageFiles(const ntmm_options *Options);
