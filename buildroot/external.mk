include $(sort $(wildcard $(BR2_EXTERNAL_HINDCAP_PATH)/package/*/*.mk))
