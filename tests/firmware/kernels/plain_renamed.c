/* The plain kernels under other names, to be counted beside the optimised ones. */
#define gnomon_conv_s8 plain_conv_s8
#define gnomon_depthwise_s8 plain_depthwise_s8
#define gnomon_dense_s8 plain_dense_s8
#define gnomon_avg_pool_s8 plain_avg_pool_s8
#define gnomon_max_pool_s8 plain_max_pool_s8
#define gnomon_add_s8 plain_add_s8
#include "kernels_plain.c"
