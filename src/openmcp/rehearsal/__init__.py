"""The stages run on recorded or written input: nothing here touches a server, and nothing is sent anywhere."""
