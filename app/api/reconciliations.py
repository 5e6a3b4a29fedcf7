"""Reconciliation."""

from fastapi import APIRouter

from app.api.keyed import KeyedRoute

router = APIRouter(prefix="/v1/reconciliations", tags=["Reconciliation"], route_class=KeyedRoute)
